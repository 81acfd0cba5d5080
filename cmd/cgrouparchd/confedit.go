package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func (a *app) confEditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "edit",
		Short: "Change the document in an editor",
		Long: `Change the document in ZooKeeper with $VISUAL, $EDITOR or vi. Faults are shown at
their line, and you can go on editing. A text that was not written is kept, and
its file is named.` + afterWriting,
		Args: cobra.NoArgs,
	}
	w := a.newWriter(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := w.open(); err != nil {
			return err
		}
		cur, err := w.current(cmd.Context())
		if err != nil {
			return err
		}
		if !cur.Exists {
			_, err := readCurrent(cmd.Context(), w.z)
			return err
		}
		return w.edit(cmd.Context(), cur)
	}
	return cmd
}

// edit lets the user work on a copy until it is written or given up.
func (w *writer) edit(ctx context.Context, cur zkconf.Current) (err error) {
	dir, err := os.MkdirTemp("", "cgrouparchd-edit-") // mode 0700
	if err != nil {
		return failed(err)
	}
	file := filepath.Join(dir, "arch_conf.json")
	keep := false
	defer func() {
		if !keep {
			_ = os.RemoveAll(dir) // of no use to anybody
			return
		}
		fmt.Fprintln(w.stderr, "cgrouparchd: your text is kept in", file)
	}()
	if err := os.WriteFile(file, cur.Raw, 0o600); err != nil {
		return failed(err)
	}
	for line := 1; ; {
		if err := runEditor(file, line); err != nil {
			keep = true
			return failed(err)
		}
		raw, err := w.readDocument(file)
		if err != nil {
			return err
		}
		if bytes.Equal(raw, cur.Raw) {
			return w.replace(ctx, cur, raw) // which says so
		}
		keep = true
		var again bool
		if faults := zkconf.Locate(raw, zkconf.Check(raw)); len(faults) > 0 {
			w.printFaults(file, faults)
			line = max(faults[0].Line, 1)
			answer, asked := w.ask(ctx, "Edit it again? [Y/n] ")
			if !asked || answer != "" && answer != "y" && answer != "yes" {
				return &exitError{exitFailed, errors.New("not written: " + faulty(file, faults).Error())}
			}
			again = true
		} else if again, err = w.agreed(ctx, cur, raw); err == nil && !again {
			keep = false
		}
		if err != nil || !again {
			return err
		}
	}
}

// agreed is replace with the choice of going on.
func (w *writer) agreed(ctx context.Context, cur zkconf.Current, raw []byte) (again bool, err error) {
	diff, destroys := w.show(cur, raw)
	if destroys && !w.yes {
		switch answer, asked := w.ask(ctx, "Write it? [y]es, [e]dit again, [N]o: "); {
		case !asked:
			return false, &exitError{exitRefused, errRefused}
		case answer == "e" || answer == "edit":
			return true, nil
		case answer != "y" && answer != "yes":
			return false, &exitError{exitFailed, errors.New("not written")}
		}
	}
	return false, w.write(ctx, cur, raw, diff)
}

// runEditor lets the user edit a file.
func runEditor(file string, line int) error {
	cmd := editorCommand(file, line)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("editor %s: %w", editor(), err)
	}
	return nil
}

// editor is what the user likes to edit with.
func editor() string { return cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi") }

// editorCommand runs the editor on a file. The variable is a shell command by
// custom; the file's name is not part of it.
func editorCommand(file string, line int) *exec.Cmd {
	args := []string{"-c", editor() + ` "$@"`, editor()}
	words := strings.Fields(editor())
	known := []string{"vi", "vim", "nvim", "nano", "emacs", "joe", "micro"}
	if line > 1 && len(words) > 0 && slices.Contains(known, filepath.Base(words[0])) {
		args = append(args, fmt.Sprintf("+%d", line))
	}
	return exec.Command("/bin/sh", append(args, file)...)
}
