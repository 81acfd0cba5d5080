package cgroup

// Allow lets the cgroup use devices, in addition to what it may use already; the
// rule of type 'a' is every use of every device.
func (d Devices) Allow(rules ...Rule) error { return d.change(true, rules) }

// Deny takes the use of devices from the cgroup. As in the kernel, a rule takes away
// what was allowed in the same words; where everything is allowed it is an exception
// to that.
func (d Devices) Deny(rules ...Rule) error { return d.change(false, rules) }

// change changes rule by rule, which on v2 means to read, change and replace a
// program: one at a time.
func (d Devices) change(allow bool, rules []Rule) error {
	_, h, err := d.List.find()
	if err != nil {
		return err
	}
	n := d.List.node
	n.host.devices.Lock()
	defer n.host.devices.Unlock()
	for _, r := range rules {
		f := h.DenyDevice
		if allow {
			f = h.AllowDevice
		}
		if err := f(n.dir(), r); err != nil {
			return err
		}
	}
	return nil
}
