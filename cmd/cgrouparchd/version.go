package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// version and commit are set by the linker (see the Makefile); what the Go tool
// knows serves when they are not.
var version, commit = "development", ""

func init() {
	info, ok := debug.ReadBuildInfo()
	if !ok || commit != "" {
		return
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version and the cgroup layout of this host",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := a.load()
			if err != nil {
				return err
			}
			layout := []hierarchyStatus{}
			l, layoutErr := cgfs.Discover(c.CgroupDir)
			if layoutErr == nil {
				defer l.Close()
				for _, h := range l.Hierarchies() {
					layout = append(layout, hierarchyStatus{Name: h.Name(), Mount: h.Mount(), CgroupV: h.Version(), Subsystems: h.Subsystems()})
				}
			}
			if a.json {
				return failed(json.NewEncoder(a.stdout).Encode(map[string]any{"version": version, "commit": commit, "go": runtime.Version(), "hierarchies": layout}))
			}
			var text strings.Builder
			fmt.Fprintf(&text, "cgrouparchd %s\ncommit %s\n%s %s/%s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			for _, h := range layout {
				fmt.Fprintf(&text, "cgroup v%d %s %s\n", h.CgroupV, h.Mount, strings.Join(h.Subsystems, ","))
			}
			if layoutErr != nil {
				fmt.Fprintf(&text, "cgroups: %v\n", layoutErr)
			}
			_, err = fmt.Fprint(a.stdout, text.String())
			return failed(err)
		},
	}
	return cmd
}
