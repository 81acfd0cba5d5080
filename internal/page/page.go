// Package page is the live page: static files in the binary, which ask the daemon over its websocket as any other client does.
//
// There is no build step: what is in static is what browsers get. uplot is a
// library for charts, vendored with its licence, see docs/dependencies.md.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var files embed.FS

// Prefix is the path below which the page's parts are; the page itself is "/".
const Prefix = "/page/"

// contentTypes are those of the files that there are, whatever the host's
// /etc/mime.types says: with nosniff a wrong one is refused by browsers.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	"":      "text/plain; charset=utf-8", // LICENSE
}

// policy lets the page load and ask nothing but this server, run no script that
// stands in the HTML, and be shown in no other page's frame. It is the second
// line of defence: the first is that names are only ever set as text.
const policy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page. A request for anything else is not found.
func Handler() http.Handler {
	all := map[string]served{}
	// The tree is in the binary: a mistake in it would show in every test.
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		all[Prefix+strings.TrimPrefix(name, "static/")] = newServed(name, data)
		return nil
	})
	if err != nil {
		panic(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path
		switch name {
		case "/":
			name = Prefix + "index.html"
		case "/favicon.ico": // browsers go by the content type
			name = Prefix + "icon.svg"
		}
		f, ok := all[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		f.serve(w, r)
	})
}

// served is one file, ready to be sent.
type served struct {
	data              []byte
	contentType, etag string
}

func newServed(name string, data []byte) served {
	sum := sha256.Sum256(data)
	return served{data, contentTypes[path.Ext(name)], `"` + hex.EncodeToString(sum[:8]) + `"`}
}

func (f served) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // asked again each time, and mostly answered by 304
	h.Set("Etag", f.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}
