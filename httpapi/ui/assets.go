package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed assets
var assetFiles embed.FS

// assets are the style sheet and the modules. Their path holds a hash of all of them, so
// that browsers keep them for good and a new version is a new path. Modules import each
// other by relative paths.
type assets struct {
	prefix string // "/assets/<hash>/"
	files  map[string][]byte
}

// mediaTypes are the types of the assets by extension. The machine's own table may lack
// them, and browsers run no module of another type.
var mediaTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// Stylesheet is the path of the style sheet, for pages that are not the dashboard's own.
func Stylesheet() string {
	a, err := loadAssets()
	if err != nil { // New says so
		return ""
	}
	return a.prefix + "ui.css"
}

func loadAssets() (*assets, error) {
	a := &assets{files: map[string][]byte{}}
	entries, err := fs.ReadDir(assetFiles, "assets") // in order of their names
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	for _, e := range entries {
		raw, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, err
		}
		a.files[e.Name()] = raw
		one := sha256.Sum256(raw)
		sum.Write(append(one[:], e.Name()...))
	}
	a.prefix = "/assets/" + hex.EncodeToString(sum.Sum(nil)[:8]) + "/"
	return a, nil
}

// ServeHTTP implements [http.Handler].
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	raw, ok := a.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(raw))
}
