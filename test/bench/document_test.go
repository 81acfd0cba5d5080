package bench

import (
	"fmt"
	"strconv"
	"strings"
)

// flat names n cgroups side by side.
func flat(n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("test_cgroup_%04d", i)
	}
	return paths
}

// nested names n cgroups three deep, parents first: ten in each, and nine in each of those.
func nested(n int) []string {
	var paths []string
	for i := 0; ; i++ {
		a := fmt.Sprintf("group_%03d", i)
		paths = append(paths, a)
		for j := range 10 {
			b := fmt.Sprintf("%s/part_%d", a, j)
			paths = append(paths, b)
			for k := range 9 {
				paths = append(paths, fmt.Sprintf("%s/leaf_%d", b, k))
			}
			if len(paths) >= n {
				return paths[:n]
			}
		}
	}
}

// document is one with these cgroups in each subsystem; cpu has a share for each, which share chooses by its place.
func document(paths []string, share func(i int) int, subsystems ...string) string {
	var b strings.Builder
	b.WriteByte('{')
	for k, subsystem := range subsystems {
		if k > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:{", subsystem)
		conf := func(i int) string {
			if subsystem == "cpu" {
				return `"conf":{"share":` + strconv.Itoa(share(i)) + `}`
			}
			return `"conf":{}`
		}
		level(&b, paths, 0, len(paths), "", conf)
		b.WriteByte('}')
	}
	b.WriteByte('}')
	return b.String()
}

// level writes the cgroups from..to, which all lie below prefix; it returns nothing for a leaf but its conf.
func level(b *strings.Builder, paths []string, from, to int, prefix string, conf func(int) string) {
	b.WriteString(`"sub_cgroup":{`)
	for i := from; i < to; {
		if i > from {
			b.WriteByte(',')
		}
		next := i + 1
		for next < to && strings.HasPrefix(paths[next], paths[i]+"/") {
			next++
		}
		fmt.Fprintf(b, "%q:{%s", strings.TrimPrefix(paths[i], prefix), conf(i))
		if next > i+1 {
			b.WriteByte(',')
			level(b, paths, i+1, next, paths[i]+"/", conf)
		}
		b.WriteByte('}')
		i = next
	}
	b.WriteByte('}')
}

// someShare gives each cgroup a share that is not the kernel's default.
func someShare(i int) int { return 100 + i%900 }
