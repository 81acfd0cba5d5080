package cgfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Disks lists the whole block devices of this host that have a size, as
// "MAJ:MIN", sorted. Partitions are left out, because throttle rules are for
// whole disks; so are unattached loop devices and empty drives.
func Disks() ([]string, error) { return disks("/sys/block") }

func disks(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list disks: %w", err)
	}
	var out []string
	for _, e := range entries {
		size, err1 := os.ReadFile(filepath.Join(dir, e.Name(), "size"))
		dev, err2 := os.ReadFile(filepath.Join(dir, e.Name(), "dev"))
		if err1 != nil || err2 != nil || strings.TrimSpace(string(size)) == "0" {
			continue // it went away, or has no medium
		}
		out = append(out, strings.TrimSpace(string(dev)))
	}
	slices.Sort(out)
	return out, nil
}
