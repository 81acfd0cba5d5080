package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/cgrouparch/cgrouparch/internal/config"
)

const defaultConfig = config.DefaultPath

// keyFlags are the configuration keys as flags.
type keyFlags map[string]*keyFlag

// keyFlag keeps what was given on the command line as text; config.Load reads it
// by the same rules as the file.
type keyFlag struct {
	key    *config.Key
	values []string
}

var _ pflag.Value = (*keyFlag)(nil)

// String is the default, for --help.
func (f *keyFlag) String() string {
	if f.key == nil {
		return ""
	}
	return f.key.Default
}

func (f *keyFlag) Set(s string) error {
	if !f.key.Repeatable() {
		f.values = f.values[:0]
	}
	f.values = append(f.values, s)
	return nil
}

func (f *keyFlag) Type() string { return f.key.TypeName() }

func (k *keyFlags) add(set *pflag.FlagSet) {
	*k = keyFlags{}
	for i := range config.Keys {
		key := &config.Keys[i]
		if !key.Flag {
			continue
		}
		f := &keyFlag{key: key}
		(*k)[key.Name] = f
		flag := set.VarPF(f, key.FlagName(), "", key.Help)
		if key.Kind == config.KindBool {
			flag.NoOptDefVal = "true"
		}
	}
}

// joinBools lets a yes-or-no flag take its value as the next word, as every
// other flag does: `--blkio-arm-disks false`.
func (k keyFlags) joinBools(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(out, args[i:]...)
		}
		name := strings.ReplaceAll(strings.TrimPrefix(args[i], "--"), "-", "_")
		f, ours := k[name]
		if ours && f.key.Kind == config.KindBool && strings.HasPrefix(args[i], "--") && i+1 < len(args) && (args[i+1] == "true" || args[i+1] == "false") {
			out = append(out, args[i]+"="+args[i+1])
			i++
			continue
		}
		out = append(out, args[i])
	}
	return out
}

// given are the flags that stand on the command line, for config.Load.
func (k keyFlags) given() map[string]string {
	out := map[string]string{}
	for name, f := range k {
		if f.values != nil {
			out[name] = strings.Join(f.values, "\n")
		}
	}
	return out
}

// load reads the daemon configuration: its faults are usage faults.
func (a *app) load() (*config.Config, error) {
	path, explicit := a.configFile, a.configFile != ""
	if !explicit {
		path = defaultConfig
	}
	c, err := config.Load(path, explicit, a.flags.given())
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("configuration: %w", err)}
	}
	return c, nil
}

// loadWithSource is load for commands that read the document.
func (a *app) loadWithSource() (*config.Config, error) {
	c, err := a.load()
	if err != nil {
		return nil, err
	}
	if err := c.RequireSource(); err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("configuration: %w", err)}
	}
	return c, nil
}
