//go:build man

package main

import (
	"os"
	"path/filepath"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// A binary with the tag "man" has one more command, which `make man` runs. The
// installed one does without: the libraries would be dead weight on every host.
func init() {
	buildCommands = append(buildCommands, manCommand)
}

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true // the date of the build is not a property of the manual
			header := &doc.GenManHeader{Section: "8", Source: "cgrouparchd", Manual: "System Manager's Manual"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return failed(err)
			}
			return failed(writeConfigurationPage(filepath.Join(args[0], "cgrouparchd.toml.5")))
		},
	}
}

// writeConfigurationPage makes cgrouparchd.toml(5) of docs/configuration.md, so
// it has to run in the top directory of the source.
func writeConfigurationPage(name string) error {
	text, err := os.ReadFile(filepath.Join("docs", "configuration.md"))
	if err != nil {
		return err
	}
	page := append([]byte("cgrouparchd.toml 5 \"\" cgrouparchd \"File Formats Manual\"\n==\n\n"), text...)
	return os.WriteFile(name, md2man.Render(page), 0o644)
}
