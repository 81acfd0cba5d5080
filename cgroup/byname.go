package cgroup

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// SettingInfo describes a row of the table of settings.
type SettingInfo struct {
	Controller string `json:"controller"` // "cpu"
	Name       string `json:"name"`       // "shares"
	Doc        string `json:"doc"`        // one line
	Values     string `json:"values"`     // what it takes, in words
	File       string `json:"file"`       // the control file on this host
	Readable   bool   `json:"readable"`   // false for actions
	Writable   bool   `json:"writable"`   // false for figures
	Common     bool   `json:"common"`     // every cgroup has it, whatever its controllers
}

// Settings lists what the cgroup's controllers offer here, by controller and name.
func (n *Node) Settings() ([]SettingInfo, error) {
	if _, err := n.existing(); err != nil {
		return nil, err
	}
	var out []SettingInfo
	for _, c := range n.Controllers() {
		h, err := n.hierarchyOf(c)
		if err != nil {
			return nil, err
		}
		for _, row := range h.Offers(c, n.dir()) {
			file, err := h.FileOf(n.dir(), row)
			if err != nil {
				continue
			}
			out = append(out, SettingInfo{
				Controller: c, Name: row.Key, Doc: row.Doc, Values: row.Value.Words, File: file,
				Readable: row.Access != cgfs.WriteOnly && row.Access != cgfs.EventSource,
				Writable: writable(row, h) == nil, Common: isCommon(row),
			})
		}
	}
	return out, nil
}

// Get reads a setting by name: "cpu.shares", "shares" where no two controllers of
// the node have that name, or a control file's name. The value has the type that
// the field of the controller's struct has; that of a file which is in no table is
// a string.
func (n *Node) Get(name string) (any, error) {
	k, err := n.knob(name)
	if errors.Is(err, errNoRow) || err == nil && n.isPlain(k, name) {
		return n.ReadFile(name)
	}
	if err != nil {
		return nil, err
	}
	return k.get()
}

// isPlain says whether a name is that of a control file here, which is not the setting
// of the same name: cpu.pressure of a v2 cgroup, on a host whose cpu controller is
// on v1.
func (n *Node) isPlain(k knob, name string) bool {
	if h := n.host.hierarchy(k.controller); h != nil && slices.Contains(n.hs, h) {
		return false
	}
	_, err := n.holder(name)
	return err == nil
}

// Set writes a setting by name, as Get takes it, from the text that a person would
// type: "500M", "0-1", "8:0 1M", "max". The warning is not empty when the kernel
// would have changed the value.
func (n *Node) Set(name, text string) (warning string, err error) {
	k, err := n.knob(name)
	if errors.Is(err, errNoRow) || err == nil && n.isPlain(k, name) {
		return "", n.WriteFile(name, text)
	}
	if err != nil {
		return "", err
	}
	return k.setText(text)
}

// Reset takes a setting, by name, back to what a new cgroup has.
func (n *Node) Reset(name string) error {
	k, err := n.knob(name)
	if err != nil {
		return err
	}
	return Setting[any]{k}.Reset()
}

var errNoRow = faultf(ErrInvalid, "no such setting")

// knob finds a row by name.
func (n *Node) knob(name string) (knob, error) {
	if c, rest, dotted := strings.Cut(name, "."); dotted {
		if c == "io" {
			c = "blkio"
		}
		for _, key := range []string{rest, name} {
			if !cgfs.IsController(c) && n.host.hierarchy(c) == nil {
				break // "cgroup.procs"
			}
			if row, ok := cgfs.LookupRow(c, key); ok {
				return knob{n, c, row.Key}, nil
			}
		}
	}
	var found []knob
	for _, c := range n.Controllers() {
		if row, ok := cgfs.LookupRow(c, name); ok {
			if i := slices.IndexFunc(found, func(k knob) bool { return k.key == row.Key }); i >= 0 && isCommon(row) {
				continue // what all controllers have is one thing
			}
			found = append(found, knob{n, c, row.Key})
		}
	}
	switch len(found) {
	case 0:
		return knob{}, faultf(errNoRow, "%s: no such setting of %s", name, strings.Join(n.Controllers(), ", "))
	case 1:
		return found[0], nil
	}
	return knob{}, faultf(ErrInvalid, "%s: a setting of %s and of %s: write %s or %s", name, found[0].controller, found[1].controller, found[0].Name(), found[1].Name())
}

// isCommon says whether a row is one that every controller has.
func isCommon(row *cgfs.Setting) bool {
	_, ok := cgfs.LookupRow("perf_event", row.Key) // which has no other rows
	return ok
}

// Files lists the control files of the cgroup in all its hierarchies, sorted.
func (n *Node) Files() ([]string, error) {
	hs, err := n.existing()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, h := range hs {
		files, err := h.Files(n.dir())
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			out = append(out, f.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// FilePath is the path of a control file of the cgroup.
func (n *Node) FilePath(file string) (string, error) {
	h, err := n.holder(file)
	if err != nil {
		return "", err
	}
	return path.Join(h.Mount(), n.dir(), file), nil
}

// ReadFile reads a control file as it is, without the newline at its end.
func (n *Node) ReadFile(file string) (string, error) {
	h, err := n.holder(file)
	if err != nil {
		return "", err
	}
	return h.Read(n.dir(), file)
}

// WriteFile writes a control file as it is, in one write: the kernel takes one
// value at a time.
func (n *Node) WriteFile(file, text string) error {
	h, err := n.holder(file)
	if err != nil {
		return err
	}
	return h.Write(n.dir(), file, text)
}

// holder is the hierarchy in which the cgroup has a file. What begins with a
// controller's name is looked for there.
func (n *Node) holder(file string) (*cgfs.Hierarchy, error) {
	if file == "" || strings.Contains(file, "/") || file == "." || file == ".." {
		return nil, faultf(ErrInvalid, "%q: not the name of a control file", file)
	}
	hs, err := n.existing()
	if err != nil {
		return nil, err
	}
	for _, h := range hs {
		if h.Exists(n.dir(), file) {
			return h, nil
		}
	}
	return nil, faultf(ErrNotExist, "%s: it has no control file %s", n, file)
}
