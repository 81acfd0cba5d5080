// Package docs holds those documents that tests execute, so that they can also run
// where the repository is not.
package docs

import _ "embed"

// Cookbook is cookbook.md.
//
//go:embed cookbook.md
var Cookbook string
