// Package confload reads rookery.toml and conf.d/*.toml into a settings.Set.
//
// Only master and rookeryctl use it: the other processes receive their part of
// the Set from master, and never read TOML. It touches files only through the
// fs.FS that it is given (os.DirFS("/") in the programs).
//
// The rules: rookery.toml first, then the files of conf.d beside it that end
// in .toml, in byte order of their names; a later scalar wins, twice in one
// file is an error; a later table of the same name replaces the earlier one,
// enabled = false takes it away; nothing is ignored in silence. All problems
// are found in one reading, each with its file and line and what to do.
package confload

import (
	"errors"
	"fmt"
	"strings"

	"rookery/internal/settings"
)

// Diag is one problem.
type Diag struct {
	File    string `json:"file"`
	Line    int    `json:"line"` // 0: the file as a whole
	Text    string `json:"text"` // what is wrong and what to do
	Warning bool   `json:"warning,omitempty"`
}

// String is "file:line: text"; warnings say so.
func (d Diag) String() string {
	place := d.File
	if d.Line > 0 {
		place = fmt.Sprintf("%s:%d", d.File, d.Line)
	}
	if d.Warning {
		return place + ": warning: " + d.Text
	}
	return place + ": " + d.Text
}

// Source is where a value was written.
type Source struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

// String is "file:line".
func (s Source) String() string { return fmt.Sprintf("%s:%d", s.File, s.Line) }

// Result is what one reading found.
type Result struct {
	Set   *settings.Set
	Diags []Diag
	Files []string // that were read, in order

	// Sources has the settings by name, and rows as "passdb/NAME".
	Sources map[string]Source
}

// Err is nil if the server may start with r: there are warnings at most.
func (r *Result) Err() error {
	var lines []string
	for _, d := range r.Diags {
		if !d.Warning {
			lines = append(lines, d.String())
		}
	}
	if lines == nil {
		return nil
	}
	return errors.New(strings.Join(lines, "\n"))
}

// Warnings are the problems that do not stop the start.
func (r *Result) Warnings() []Diag {
	var out []Diag
	for _, d := range r.Diags {
		if d.Warning {
			out = append(out, d)
		}
	}
	return out
}

func (r *Result) errorf(at Source, format string, args ...any) {
	r.Diags = append(r.Diags, Diag{File: at.File, Line: at.Line, Text: fmt.Sprintf(format, args...)})
}

func (r *Result) warnf(at Source, format string, args ...any) {
	r.Diags = append(r.Diags, Diag{File: at.File, Line: at.Line, Text: fmt.Sprintf(format, args...), Warning: true})
}
