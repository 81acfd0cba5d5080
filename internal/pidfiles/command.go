package pidfiles

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/command"
	"go.uber.org/zap"
)

const (
	commandTimeout = 10 * time.Second
	commandOutput  = 256 << 10
)

// commandResult is the last good list that the command printed for a cgroup, and what went wrong since.
type commandResult struct {
	files []string
	err   error
}

// RefreshCommand runs the command for each of cgroups, one after the other, and reports whether any list has changed.
// Each result is in use as soon as it is there. It blocks for up to 10 s a cgroup and so belongs in a task of its own:
// [Source.Read] never waits for it. Cgroups that are not mentioned are forgotten. When ctx ends, what is left keeps its
// list. Without a command it does nothing.
func (s *Source) RefreshCommand(ctx context.Context, cgroups []Cgroup) (changed bool) {
	if len(s.rules.Load().Command) == 0 {
		return s.forgetCommand()
	}
	wanted := make(map[string]bool, len(cgroups))
	for _, cgroup := range cgroups {
		wanted[cgroup.Path] = true
		files, err := s.runCommand(ctx, cgroup)
		if ctx.Err() != nil {
			return changed
		}
		if s.setCommand(cgroup.Path, files, err) {
			changed = true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for path := range s.commands {
		if !wanted[path] {
			delete(s.commands, path)
			changed = true
		}
	}
	return changed
}

// forgetCommand drops what a command has printed that is configured no more.
func (s *Source) forgetCommand() (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = len(s.commands) > 0
	clear(s.commands)
	return changed
}

// setCommand keeps a result, and logs when it begins to fail, fails otherwise, or works again.
func (s *Source) setCommand(path string, files []string, err error) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.commands[path]
	if err != nil {
		if old.err == nil || old.err.Error() != err.Error() {
			s.config.Log.Warn("pid file command failed", zap.String("cgroup", path), zap.Error(err))
		}
		s.commands[path] = commandResult{files: old.files, err: err}
		return false
	}
	if old.err != nil {
		s.config.Log.Info("pid file command works again", zap.String("cgroup", path))
	}
	s.commands[path] = commandResult{files: files}
	return !slices.Equal(old.files, files)
}

// runCommand returns the list that the command prints for a cgroup.
func (s *Source) runCommand(ctx context.Context, cgroup Cgroup) ([]string, error) {
	name := cgroup.Path[strings.LastIndexByte(cgroup.Path, '/')+1:]
	output, err := command.Command{
		Argv: append(slices.Clone(s.rules.Load().Command), name),
		Env: []string{
			"CGROUP_PATH=" + cgroup.Path,
			"CGROUP_SUBSYSTEMS=" + strings.Join(cgroup.Subsystems, " "),
		},
		Timeout:   commandTimeout,
		MaxOutput: commandOutput,
	}.Output(ctx)
	if err != nil {
		return nil, err
	}
	return parseList(output)
}

// parseList reads what the command prints: one path a line. Blanks around a path do not belong to it.
func parseList(output []byte) ([]string, error) {
	var files []string
	for line := range strings.Lines(string(output)) {
		file := strings.TrimSpace(line)
		if file == "" {
			continue
		}
		if strings.ContainsRune(file, 0) {
			return nil, fmt.Errorf("a path with a NUL byte was printed")
		}
		files = append(files, file)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}
