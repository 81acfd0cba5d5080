//go:build race

package e2e

// raceBuild has the daemon built with the race detector exactly when the tests are.
const raceBuild = true
