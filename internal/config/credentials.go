package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// credentialKeys are the credentials that a service manager may pass (systemd.exec(5),
// LoadCredential=), with the keys that they stand for: a secret then need not
// be in a file that lies on the disk.
var credentialKeys = map[string]string{
	"cgrouparchd.zk_auth":   "zk_auth_file",
	"cgrouparchd.redis_url": "redis_url",
}

// readCredentials reads what there is of them in the directory that
// $CREDENTIALS_DIRECTORY names; "" is none.
func readCredentials(dir string) ([]given, error) {
	if dir == "" {
		return nil, nil
	}
	var all []given
	for _, name := range sortedKeys(credentialKeys) {
		key, _ := LookupKey(credentialKeys[name])
		file := filepath.Join(dir, name)
		data, _, err := readFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("credential %s: %w", name, err)
		}
		value := file
		if key.Kind != KindPath {
			value = strings.TrimSpace(string(data))
		}
		all = append(all, given{input: input{key, value, false}, where: "credential " + name, line: flagLine, credential: true})
	}
	return all, nil
}
