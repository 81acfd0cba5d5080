package zkconf_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing in the package may outlive its Run or Fetch.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
