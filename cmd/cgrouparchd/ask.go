package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/charmbracelet/x/term"
)

// ask asks the user and returns the answer in lower case; asked is false where
// there is nobody to answer: standard input is no terminal.
func (a *app) ask(ctx context.Context, question string) (answer string, asked bool) {
	if !interactive(a.stdin) {
		return "", false
	}
	fmt.Fprint(a.stderr, question)
	type line struct {
		text string
		err  error
	}
	lines := make(chan line, 1)
	go func() { // a terminal that is read cannot be given up, but the process ends soon
		text, err := readLine(a.stdin)
		lines <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", true
	case l := <-lines:
		return strings.ToLower(strings.TrimSpace(l.text)), l.err == nil
	}
}

// readLine reads no further than the line, since an editor may be next to read.
func readLine(r io.Reader) (string, error) {
	var text []byte
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		if n == 1 && b[0] == '\n' {
			return string(text), nil
		}
		if err != nil {
			return "", err
		}
		text = append(text, b[:n]...)
	}
}

// interactive says whether a person sits at the other end.
func interactive(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}
