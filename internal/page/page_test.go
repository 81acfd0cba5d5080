package page

import (
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func get(t *testing.T, path string, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Header = header
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestHandler(t *testing.T) {
	for _, tt := range []struct {
		path, contentType, begins string
		status                    int
	}{
		{"/", "text/html; charset=utf-8", "<!doctype html>", 200},
		{"/page/page.js", "text/javascript; charset=utf-8", "//", 200},
		{"/page/address.js", "text/javascript; charset=utf-8", "//", 200},
		{"/page/worker.js", "text/javascript; charset=utf-8", "//", 200},
		{"/page/page.css", "text/css; charset=utf-8", ":root", 200},
		{"/page/icon.svg", "image/svg+xml", "<svg", 200},
		{"/page/uplot/uPlot.iife.min.js", "text/javascript; charset=utf-8", "/*!", 200},
		{"/page/uplot/LICENSE", "text/plain; charset=utf-8", "The MIT License", 200},
		{"/page/documents.js", "text/javascript; charset=utf-8", "//", 200},
		{"/favicon.ico", "image/svg+xml", "<svg", 200},
		{"/page/", "", "", 404},
		{"/page/nosuch.js", "", "", 404},
		{"/page/../page.go", "", "", 404},
	} {
		response := get(t, tt.path, nil)
		if response.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d", tt.path, response.StatusCode, tt.status)
		}
		if tt.status != 200 {
			continue
		}
		begin := make([]byte, len(tt.begins))
		_, _ = response.Body.Read(begin)
		h := response.Header
		if h.Get("Content-Type") != tt.contentType || string(begin) != tt.begins {
			t.Errorf("%s: %s %q", tt.path, h.Get("Content-Type"), begin)
		}
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'self'; ") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", tt.path, h)
		}
	}
}

// TestUnchanged: a browser that has a file already is told so.
func TestUnchanged(t *testing.T) {
	etag := get(t, "/page/page.js", nil).Header.Get("Etag")
	if etag == "" {
		t.Fatal("no Etag")
	}
	if response := get(t, "/page/page.js", http.Header{"If-None-Match": {etag}}); response.StatusCode != http.StatusNotModified {
		t.Errorf("status %d, want 304", response.StatusCode)
	}
	if response := get(t, "/page/page.js", http.Header{"If-None-Match": {`"another"`}}); response.StatusCode != http.StatusOK {
		t.Errorf("another version: status %d, want 200", response.StatusCode)
	}
}

// TestNothingFromElsewhere: the page names no other server, its HTML has no
// script or style of its own, and our code never makes HTML of text.
func TestNothingFromElsewhere(t *testing.T) {
	elsewhere := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9.-]+\.[a-z]{2,}`)
	inline := regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|\son[a-z]+=|\sstyle=|javascript:`)
	html := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc`)
	seen := 0
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(name, "/uplot/") {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "")
		seen++
		for _, r := range []*regexp.Regexp{elsewhere, html} {
			if found := r.FindString(text); found != "" {
				t.Errorf("%s: %q", name, found)
			}
		}
		if strings.HasSuffix(name, ".html") {
			if found := inline.FindString(text); found != "" {
				t.Errorf("%s: %q", name, found)
			}
		}
		return nil
	})
	if err != nil || seen < 5 {
		t.Errorf("%d files, %v", seen, err)
	}
}

// TestModules: what one part imports of another is served, and nothing is served that no part of the page asks for.
func TestModules(t *testing.T) {
	named := regexp.MustCompile(`(?:from '\./|importScripts\('/page/|new Worker\('/page/|(?:src|href)="/page/)([^'"]+)['"]`)
	want := map[string]bool{}
	var served []string
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		served = append(served, strings.TrimPrefix(name, "static/"))
		data, err := files.ReadFile(name)
		if err != nil || strings.Contains(name, "/uplot/") {
			return err
		}
		for _, m := range named.FindAllStringSubmatch(string(data), -1) {
			want[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want["index.html"], want["uplot/LICENSE"] = true, true
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), served); diff != "" {
		t.Errorf("served (-asked for +there):\n%s", diff)
	}
}
