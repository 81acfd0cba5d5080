package zkconf

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cgrouparch/cgrouparch/internal/statefile"
)

// lastGoodFile is the name in the state directory.
const lastGoodFile = "last_good.json"

// ErrOtherCluster says that kept state belongs to documents from elsewhere.
var ErrOtherCluster = errors.New("state of another cluster")

// LastGood is the last valid document, kept so that a start without its source
// enforces it at once.
type LastGood struct {
	Origin  Origin `json:"origin"`
	Version int32  `json:"version"`
	Raw     string `json:"document"` // a document is UTF-8, so JSON keeps it byte for byte
}

// SaveLastGood keeps it in the state directory, replacing the one before.
func SaveLastGood(dir string, good LastGood) error {
	if err := statefile.Save(filepath.Join(dir, lastGoodFile), good); err != nil {
		return fmt.Errorf("save last good document: %w", err)
	}
	return nil
}

// LoadLastGood returns what was kept, still to be decoded. The error is
// fs.ErrNotExist when there is nothing, and ErrOtherCluster when what is there
// came from another place than origin: the trees of another cluster must not be
// built here because somebody copied a disk or edited the configuration.
func LoadLastGood(dir string, origin Origin) (LastGood, error) {
	path := filepath.Join(dir, lastGoodFile)
	var good LastGood
	if err := statefile.Load(path, &good); err != nil {
		return LastGood{}, fmt.Errorf("load last good document: %w", err)
	}
	if !good.Origin.SameCluster(origin) {
		return LastGood{}, fmt.Errorf("%s: %w: it came from %s, not from %s", path, ErrOtherCluster, good.Origin, origin)
	}
	return good, nil
}
