package cgroup

import "github.com/cgrouparch/cgrouparch/internal/cgfs"

// Amount is a number of bytes, µs or other things, or [NoLimit]. It prints and
// encodes to JSON as a number or "max".
type Amount = cgfs.Amount

// Percent is a part of something in percent, or [NoLimit]. It prints and encodes to
// JSON as a number or "max".
type Percent = cgfs.Percent

// NoLimit is the [Amount] or [Percent] that the kernel spells -1, "max", or as a
// huge number.
const NoLimit = cgfs.Infinite

// Quota is CPU Time that may be used in each Period, both in µs; a Period of 0 sets the
// default, 100000. It prints as cpu.max of v2 does: "50000 100000".
type Quota = cgfs.Quota

// CPUs is a set of processors, or of memory nodes: ranges in ascending order that
// do not touch. It prints as the kernel's list format: "0-2,7".
type CPUs = cgfs.Set

// CPURange is the numbers from First to Last.
type CPURange = cgfs.Range

// NewCPUs is the set of the given numbers.
func NewCPUs(members ...int) (CPUs, error) { return cgfs.NewSet(members...) }

// ParseCPUs reads the kernel's list format: "0-2,7".
func ParseCPUs(text string) (CPUs, error) { return cgfs.ParseSet(text) }

// Rule says which accesses to which devices are meant: Type 'b', 'c' or 'a' (all),
// Major and Minor with -1 for any, and Access of the letters r (read), w (write)
// and m (mknod). It prints as the kernel writes it: "c 1:3 rwm".
type Rule = cgfs.Rule

// ParseRule reads a rule as the kernel writes it; "a" is every access to every
// device.
func ParseRule(text string) (Rule, error) { return cgfs.ParseRule(text) }
