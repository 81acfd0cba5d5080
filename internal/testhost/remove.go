package testhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Remove removes a cgroup with all below it, however deep. Processes in it go to the hierarchy's own cgroup. It tries for a while,
// since a process that was killed stays a moment longer. A cgroup that is not there is no error.
func Remove(dir string) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := RemoveOnce(dir)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// RemoveOnce is Remove that tries once.
func RemoveOnce(dir string) error { return removeOnce(dir, true) }

func removeOnce(dir string, evacuate bool) error {
	dir, err := filepath.EvalSymlinks(dir) // controllers that are mounted together have links to the mount
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	r := remover{}
	if evacuate {
		if r.refuge, err = procsAbove(dir); err != nil {
			return err
		}
	}
	up, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer func() { _ = up.Close() }()
	if err := r.remove(up, filepath.Base(dir)); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

// procsAbove is the file that takes processes into the cgroup of the mount in which dir is.
func procsAbove(dir string) (string, error) {
	longest := ""
	for _, mount := range Hierarchies() {
		if strings.HasPrefix(dir, mount+"/") && len(mount) > len(longest) {
			longest = mount
		}
	}
	if longest == "" {
		return "", fmt.Errorf("remove %s: not below a hierarchy of cgroups", dir)
	}
	return filepath.Join(longest, "cgroup.procs"), nil
}

// remover removes cgroups by their directories instead of their paths, which have a longest.
type remover struct {
	refuge string // the cgroup.procs that gets the processes, "" when they stay
}

func (r remover) remove(up *os.Root, name string) error {
	at, err := up.OpenRoot(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	stays := errors.Join(r.below(at), at.Close())
	switch err := up.Remove(name); {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	case stays != nil: // the reason why this one stays too
		return stays
	default:
		return err
	}
}

// below removes the cgroups in a cgroup, and takes its processes out of it.
func (r remover) below(at *os.Root) error {
	dir, err := at.Open(".")
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	_ = dir.Close()
	errs := []error{err}
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, r.remove(at, e.Name()))
		}
	}
	if r.refuge != "" {
		pids, _ := at.ReadFile("cgroup.procs") // of one that ends meanwhile there is nothing to be said
		for pid := range strings.FieldsSeq(string(pids)) {
			_ = WriteControl(r.refuge, pid) // who cannot be moved, or has ended, shows when the cgroup cannot be removed
		}
	}
	return errors.Join(errs...)
}

// WriteControl writes a control file as a person would. It does not create: a cgroup filesystem answers that with a misleading error.
func WriteControl(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
