package rfcdoc

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Folders have the transcripts, by the name that stands for them on the page.
var Folders = []struct{ Name, Path string }{
	{"session", "imapworker/internal/session/testdata"},
	{"fetch", "imapworker/internal/fetch/testdata"},
	{"search", "imapworker/internal/search/testdata"},
	{"sorting", "imapworker/internal/sorting/testdata"},
	{"preimap", "login/internal/preimap/testdata"},
}

// Transcripts gives the sections that each transcript's comments name, by its name on
// the page. tree is the root of the sources. A transcript that repeats another one in
// one format alone ("maildir_x.txt" beside "x.txt") goes by the other's name.
func Transcripts(tree fs.FS) (map[string][]Ref, error) {
	all := map[string][]Ref{}
	for _, folder := range Folders {
		err := fs.WalkDir(tree, folder.Path, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || path.Ext(file) != ".txt" {
				return err
			}
			if twin := strings.TrimPrefix(path.Base(file), "maildir_"); twin != path.Base(file) {
				if _, err := fs.Stat(tree, path.Join(path.Dir(file), twin)); err == nil {
					return nil
				}
			}
			text, err := fs.ReadFile(tree, file)
			name := folder.Name + strings.TrimPrefix(file, folder.Path)
			if err == nil {
				all[name], err = Cited(string(text))
			}
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// BySection turns what Transcripts gives round.
func BySection(transcripts map[string][]Ref) map[Ref][]string {
	by := map[Ref][]string{}
	for name, refs := range transcripts {
		for _, ref := range refs {
			if !slices.Contains(by[ref], name) {
				by[ref] = append(by[ref], name)
			}
		}
	}
	for _, names := range by {
		slices.Sort(names)
	}
	return by
}

var citation = regexp.MustCompile(`RFC (\d+)|(to )?§((?:\d+|[A-Z])(?:\.\d+)*)`)

// Cited reads the comments of a transcript. A section without an RFC before it in the
// same comment is one of the first RFC that the transcript names. "§5.1 to §5.3" are
// three.
func Cited(transcript string) ([]Ref, error) {
	first := 0
	var refs []Ref
	for _, comment := range comments(transcript) {
		rfc, last := first, ""
		for _, m := range citation.FindAllStringSubmatch(comment, -1) {
			if m[1] != "" {
				rfc, _ = strconv.Atoi(m[1])
				if first == 0 {
					first = rfc
				}
				continue
			}
			if rfc == 0 {
				return nil, fmt.Errorf("§%s of no RFC", m[3])
			}
			if m[2] != "" {
				refs = append(refs, between(rfc, last, m[3])...)
			}
			refs = append(refs, Ref{rfc, m[3]})
			last = m[3]
		}
	}
	return refs, nil
}

// between gives the sections between two of the same parent, without these.
func between(rfc int, from, to string) (refs []Ref) {
	cut := strings.LastIndexByte(to, '.') + 1
	end, err := strconv.Atoi(to[cut:])
	if err != nil || !strings.HasPrefix(from, to[:cut]) {
		return nil
	}
	begin, err := strconv.Atoi(from[cut:])
	for n := begin + 1; err == nil && n < end; n++ {
		refs = append(refs, Ref{rfc, to[:cut] + strconv.Itoa(n)})
	}
	return refs
}

// comments joins the lines of each comment.
func comments(transcript string) (all []string) {
	open := false
	for line := range strings.Lines(transcript) {
		text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "#")
		switch {
		case !ok:
			open = false
		case open:
			all[len(all)-1] += text
		default:
			all, open = append(all, text), true
		}
	}
	return all
}
