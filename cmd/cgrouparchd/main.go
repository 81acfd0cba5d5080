// A limit of the CPU is heeded as it is at the start. Else the runtime reads it anew in
// every second, and that from a cgroup file.
//
//go:debug updatemaxprocs=0

// Command cgrouparchd makes this host follow one cgroup configuration.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses (design 1.3).
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitChanges = 3 // plan, conf diff: there is something to do
	exitRefused = 4 // conf set, edit, rollback: it needs --yes
)

func main() {
	keepDescriptors()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// inherited are the descriptors that keepDescriptors has kept; exec passes them on.
var inherited []int

// keepDescriptors keeps descriptors that we inherited to ourselves: the commands
// that we start get three and no more.
func keepDescriptors() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // without /proc nothing else works either, and says so
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 && passedOn(fd) {
			syscall.CloseOnExec(fd)
			inherited = append(inherited, fd)
		}
	}
}

// run is the whole program: standard output carries the answer, everything else
// goes to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	a := &app{stdin: os.Stdin, stdout: stdout, stderr: stderr}
	root := a.command()
	root.SetArgs(a.flags.joinBools(args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var e *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &e):
		if e.err != nil {
			fmt.Fprintln(stderr, "cgrouparchd:", harmless(e.err))
		}
		return e.status
	}
	fmt.Fprintln(stderr, "cgrouparchd:", harmless(err))
	fmt.Fprintln(stderr, "Run 'cgrouparchd --help' for usage.")
	return exitUsage // cobra's own errors are all about the command line
}

// harmless is an error's text in which no name of a file or a cgroup, which
// anybody may have chosen, talks to the terminal.
func harmless(err error) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || strconv.IsPrint(r) {
			return r
		}
		return '?'
	}, err.Error())
}

// exitError ends the program with a status; a nil err has been reported already.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return fmt.Sprint(e.err) }
func (e *exitError) Unwrap() error { return e.err }

// failed makes an error end the program with status 1, unless it has one of its own.
func failed(err error) error {
	var e *exitError
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &exitError{exitFailed, err}
}

// app is what the commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	configFile     string
	flags          keyFlags
	json           bool
}

// buildCommands are commands that only exist with a build tag (man.go).
var buildCommands []func() *cobra.Command

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "cgrouparchd",
		Short: "Make this host follow one cgroup configuration",
		Long: `cgrouparchd watches one cgroup configuration in ZooKeeper (or a local file),
makes the cgroups of this host match it, moves the processes named by pid files
into them, and samples every cgroup's usage each second.

Every key of the configuration file but the secret ones is also a flag; a flag
wins. Exit status: 0 done, 1 it failed, 2 usage or configuration fault.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.stderr)
			_ = cmd.Usage()
			return &exitError{status: exitUsage}
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetHelpCommand(helpCommand(root))
	a.flags.add(root.PersistentFlags())
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON, where a command prints a structure")
	root.PersistentFlags().StringVar(&a.configFile, "config", "", "configuration file (default "+defaultConfig+")")
	root.AddCommand(
		a.runCommand(), a.cgexecCommand(), a.planCommand(), a.checkCommand(), a.showAccountCommand(), a.topCommand(), a.versionCommand(),
		a.cgroupCommand(), a.execCommand(),
	)
	root.AddCommand(a.confCommand(), a.statusCommand())
	for _, build := range buildCommands {
		root.AddCommand(build())
	}
	return root
}

// helpCommand is cobra's own, but what it cannot explain is a usage fault.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("no help for %q", strings.Join(args, " "))
			}
			return failed(cmd.Help())
		},
	}
}
