package datadir

import (
	"io/fs"
	"os"
	"path/filepath"
)

// Exposed returns the mode of the file or directory at path if others than its owner
// have any right to it. Links are followed; what is not there is not exposed.
func Exposed(path string) (mode fs.FileMode, exposed bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	mode = info.Mode().Perm()
	return mode, mode&0o077 != 0
}

// secrets are the entries with secrets that people touch, or whose owner tools that copy
// a data directory may change. The rest is state, which the directory's own mode keeps.
var secrets = []string{OperatorTokenFile, AdminKeyFile, EncryptionKeyFile, ClusterDir}

// ExposedSecrets lists the files with secrets in dir that are [Exposed], relative to it.
func ExposedSecrets(dir string) (out []string) {
	for _, name := range secrets {
		_ = filepath.WalkDir(filepath.Join(dir, name), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return fs.SkipDir // it is not there, or reported by Check
			}
			if e.IsDir() {
				return nil
			}
			if _, exposed := Exposed(path); exposed {
				if rel, err := filepath.Rel(dir, path); err == nil {
					out = append(out, rel)
				}
			}
			return nil
		})
	}
	return out
}
