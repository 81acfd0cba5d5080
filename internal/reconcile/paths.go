package reconcile

import "strings"

// relativeTo takes root off dir; below is false when dir is not at or below it.
func relativeTo(root, dir string) (p string, below bool) {
	if root == "" || dir == root {
		return strings.TrimPrefix(strings.TrimPrefix(dir, root), "/"), true
	}
	return strings.CutPrefix(dir, root+"/")
}
