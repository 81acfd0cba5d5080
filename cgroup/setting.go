package cgroup

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// Setting is one thing that a cgroup has been set to. Its type says what values it
// takes; what the kernel makes of one, such as a size rounded to pages, Get shows.
type Setting[T any] struct{ knob }

// Get reads the value.
func (s Setting[T]) Get() (T, error) { return get[T](s.knob) }

// Set writes the value, unless it is in force. A v2 cgroup gets the controller
// first, if need be.
func (s Setting[T]) Set(value T) error { return s.set(value) }

// Reset takes the setting back to what a new cgroup has; a counter begins anew (v1).
func (s Setting[T]) Reset() error {
	row, h, err := s.find()
	if err != nil {
		return err
	}
	if err := writable(row, h); err != nil {
		return faultf(err, "%s: %v", s.Name(), err)
	}
	if row.Counts() {
		return s.write(row, h, "0")
	}
	if row.Access != cgfs.State {
		return faultf(ErrNotSupported, "%s: there is nothing to take it back to", s.Name())
	}
	return explained(h, s.node.dir(), h.Reset(s.node.dir(), s.controller, row.Key))
}

// Figure is something that the kernel tells of a cgroup.
type Figure[T any] struct{ knob }

// Get reads the figure.
func (f Figure[T]) Get() (T, error) { return get[T](f.knob) }

// Action is something that a cgroup can be told to do.
type Action[T any] struct{ knob }

// Do writes the value.
func (a Action[T]) Do(value T) error { return a.set(value) }

// knob is one row of the table for one node.
type knob struct {
	node       *Node
	controller string
	key        string
}

// Name is the setting's name: "cpu.shares".
func (k knob) Name() string { return k.controller + "." + k.key }

// File is the path of the control file that it is on this host.
func (k knob) File() (string, error) {
	row, h, err := k.find()
	if err != nil {
		return "", err
	}
	file, err := h.FileOf(k.node.dir(), row)
	return path.Join(h.Mount(), k.node.dir(), file), err
}

// find is the row, and the hierarchy where it is.
func (k knob) find() (*cgfs.Setting, *cgfs.Hierarchy, error) {
	if k.node == nil {
		return nil, nil, faultf(ErrInvalid, "a setting of no cgroup")
	}
	row, ok := cgfs.LookupRow(k.controller, k.key)
	if !ok {
		return nil, nil, faultf(ErrInvalid, "%s: no such setting", k.Name())
	}
	h, err := k.node.hierarchyOf(k.controller)
	return row, h, err
}

// hierarchyOf is the node's hierarchy that has a controller. A node that was named
// with controllers has those alone, however they are mounted.
func (n *Node) hierarchyOf(controller string) (*cgfs.Hierarchy, error) {
	h := n.host.hierarchy(controller)
	if h == nil {
		return nil, faultf(ErrNotSupported, "%s: %s: %s", n, controller, cgfs.WhyNotUnified(controller))
	}
	if n.named != nil && !slices.Contains(n.named, controller) && !slices.Contains(n.named, h.Name()) {
		return nil, faultf(ErrNotSupported, "%s: %s is not among the controllers that it is named with", n, controller)
	}
	if !slices.Contains(n.hs, h) {
		return nil, faultf(ErrNotSupported, "%s: it is not in the hierarchy of %s", n, controller)
	}
	return h, nil
}

func get[T any](k knob) (value T, err error) {
	typed, err := k.get()
	if err != nil {
		return value, err
	}
	value, ok := typed.(T)
	if !ok {
		return value, fmt.Errorf("%s: read as %T, not %T", k.Name(), typed, value)
	}
	return value, nil
}

func (k knob) get() (any, error) {
	row, h, err := k.find()
	if err != nil {
		return nil, err
	}
	if row.Access == cgfs.WriteOnly {
		return nil, faultf(ErrWriteOnly, "%s: for writing only", k.Name())
	}
	text, err := h.Get(k.node.dir(), row)
	if err != nil {
		return nil, err
	}
	value, err := row.Value.Kind.Typed(text)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", k.Name(), k.node, err)
	}
	return value, nil
}

// set writes a typed value.
func (k knob) set(value any) error {
	row, h, err := k.find()
	if err != nil {
		return err
	}
	if err := writable(row, h); err != nil {
		return faultf(err, "%s: %v", k.Name(), err)
	}
	text, _, err := row.Parse(value)
	if err != nil {
		return faultf(ErrInvalid, "%s: %v", k.Name(), err)
	}
	return k.write(row, h, text)
}

// setText writes a value as a person types it.
func (k knob) setText(arg string) (warning string, err error) {
	row, h, err := k.find()
	if err != nil {
		return "", err
	}
	if err := writable(row, h); err != nil {
		return "", faultf(err, "%s: %v", k.Name(), err)
	}
	text, warning, err := row.ParseArg(arg)
	if err != nil {
		return "", faultf(ErrInvalid, "%s: %v", k.Name(), err)
	}
	if k.controller == "devices" && (row.Key == "allow" || row.Key == "deny") {
		rules, err := cgfs.ParseRules(text)
		if err != nil {
			return "", faultf(ErrInvalid, "%s: %v", k.Name(), err)
		}
		return warning, k.node.Devices().change(row.Key == "allow", rules)
	}
	if warning == "" && tiny(k.controller, row, text) {
		warning = tooSmall(arg, text)
	}
	return warning, k.write(row, h, text)
}

// tiny says whether a size is so small that a unit was meant.
func tiny(controller string, row *cgfs.Setting, text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && 0 < n && n < 4096 && row.Value.Kind == cgfs.KindAmount && (controller == "memory" || controller == "hugetlb")
}

// tooSmall warns of a size in bytes, that was typed as arg. Who typed a bare number may
// have meant megabytes.
func tooSmall(arg, bytes string) string {
	warning := bytes + " bytes are less than a page, so that the kernel makes it 0"
	if strings.Trim(strings.TrimSpace(arg), "0123456789") == "" {
		warning += "; " + bytes + "M would be megabytes"
	}
	return warning
}

// writable says why a row cannot be written.
func writable(row *cgfs.Setting, h *cgfs.Hierarchy) error {
	if row.Counts() && h.Version() == 2 {
		return faultf(ErrReadOnly, "read-only on v2, where no counter begins anew")
	}
	switch row.Access {
	case cgfs.ReadOnly:
		return ErrReadOnly
	case cgfs.EventSource:
		return ErrNotSupported
	}
	return nil
}

// write puts canonical text in force.
func (k knob) write(row *cgfs.Setting, h *cgfs.Hierarchy, text string) error {
	if _, err := h.Stat(k.node.dir()); err != nil {
		return err
	}
	if h.Version() == 2 && row.Why(2) == "" && k.node.path != "" {
		if err := k.node.enable(h, k.controller); err != nil && !errors.Is(err, ErrNotExist) {
			return err
		}
	}
	if err := k.belowMemory(row, h, text); err != nil {
		return err
	}
	return explained(h, k.node.dir(), h.Set(k.node.dir(), k.controller, map[string]string{row.Key: text}))
}

// controls makes the struct of a controller's settings.
func controls[T any](n *Node, controller string) T {
	var out T
	bind(&out, n, controller, "")
	return out
}

// bind fills the fields of a struct, each of which names its row in a tag.
func bind(to any, n *Node, controller, prefix string) {
	fields := reflect.ValueOf(to).Elem()
	for i := range fields.NumField() {
		field := fields.Field(i).Addr().Interface()
		if k, ok := field.(binder); ok {
			k.bind(knob{n, controller, prefix + fields.Type().Field(i).Tag.Get("row")})
		} else {
			bind(field, n, controller, prefix)
		}
	}
}

// binder is a pointer to a setting, a figure or an action.
type binder interface{ bind(knob) }

func (k *knob) bind(to knob) { *k = to }
