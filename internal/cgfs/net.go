package cgfs

import (
	"fmt"
	"strconv"
	"strings"
)

// net_cls and net_prio: Documentation/admin-guide/cgroup-v1/net_cls.rst and
// net_prio.rst. v2 has neither.

const (
	noNetCls  = "v2 has no class ids: match the cgroup itself instead, with `socket cgroupv2` of nftables"
	noNetPrio = "v2 has no priorities by network interface: set them where the traffic is matched, with nftables or tc"
)

var netClsSettings = []Setting{class("class_id", "class of its packets for traffic control: a number, or as tc writes it, `\"10:1\"`"), class("classid", "the same as `class_id`")}

func class(key, doc string) Setting {
	return Setting{
		Key: key, Thing: "class_id", Doc: doc,
		Value: plainly(KindInteger, "0 to 4294967295, `\"0x100001\"` or `\"10:1\"`", classID), Default: "0",
		V1: []File{file("net_cls.classid")}, Always: "0", NoV2: noNetCls,
	}
}

// classID reads a number, or MAJOR:MINOR in hexadecimal as tc(8) does.
func classID(value any) (string, error) {
	s, _ := value.(string)
	major, minor, ok := strings.Cut(s, ":")
	if hex, prefixed := strings.CutPrefix(strings.ToLower(s), "0x"); prefixed {
		n, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			return "", fmt.Errorf("not a class id: %q", s)
		}
		return strconv.FormatUint(n, 10), nil
	}
	if !ok {
		n, err := wholeNumber(value)
		if err != nil {
			return "", err
		}
		return inRange(n, 0, 1<<32-1)
	}
	a, err1 := strconv.ParseUint(major, 16, 16)
	b, err2 := strconv.ParseUint(either(minor, "0"), 16, 16)
	if err1 != nil || err2 != nil {
		return "", fmt.Errorf("not a class id: %q", s)
	}
	return strconv.FormatUint(a<<16|b, 10), nil
}

var netPrioSettings = []Setting{{
	Key: "ifpriomap", Thing: "ifpriomap", Doc: "priority of its packets by network interface",
	Value: perName("interface such as `\"eth0\"`", networkInterface, integer(0, 1<<32-1)), Default: "0",
	V1: []File{file("net_prio.ifpriomap")}, on1: byLine, NoV2: noNetPrio,
}}

var netPrioFigures = []Setting{
	figure(KindInteger, "prioidx", "the kernel's own number of the cgroup", files("net_prio.prioidx"), nil),
}

// networkInterface checks the name of an interface: what dev_valid_name() of the
// kernel accepts.
func networkInterface(name string) (string, error) {
	if name == "" || len(name) > 15 || name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == 0x7f || r == 0x85 || r == 0xa0 }) {
		return "", fmt.Errorf("not the name of a network interface: %q", name)
	}
	return name, nil
}
