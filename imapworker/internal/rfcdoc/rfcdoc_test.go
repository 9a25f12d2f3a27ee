package rfcdoc

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../../.."

// tree reads all that there is to compare.
func tree(t *testing.T) ([]Section, Shown, map[string][]Ref) {
	t.Helper()
	sections, err := Sections()
	if err != nil {
		t.Fatal(err)
	}
	shown, err := ReadShown()
	if err != nil {
		t.Fatal(err)
	}
	transcripts, err := Transcripts(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	return sections, shown, transcripts
}

func refs(sections []Section) map[Ref]bool {
	all := map[Ref]bool{}
	for _, s := range sections {
		all[Ref{s.RFC, s.Name}] = true
	}
	return all
}

// Each section that demands something has a transcript that names it, or a test or
// reason in shown.txt.
func TestEachDemandIsShown(t *testing.T) {
	sections, shown, transcripts := tree(t)
	by := BySection(transcripts)
	for _, s := range unshown(sections, shown, by) {
		t.Errorf("RFC %d §%s (%s) has %d demands, and neither a transcript nor a line in shown.txt", s.RFC, s.Name, s.Title, s.Musts)
	}
	if len(sections) < 500 || len(by) < 100 {
		t.Errorf("only %d sections and %d that are named", len(sections), len(by))
	}
}

func unshown(sections []Section, shown Shown, by map[Ref][]string) (all []Section) {
	for _, s := range sections {
		ref := Ref{s.RFC, s.Name}
		if s.Musts > 0 && len(by[ref]) == 0 && shown.Notes[ref] == "" {
			all = append(all, s)
		}
	}
	return all
}

// What is named is there: sections, transcripts, tests.
func TestWhatIsNamedIsThere(t *testing.T) {
	sections, shown, transcripts := tree(t)
	known, counted := refs(sections), map[int]bool{}
	for _, s := range sections {
		counted[s.RFC] = true
		if shown.Titles[s.RFC] == "" {
			t.Errorf("RFC %d has no title in shown.txt", s.RFC)
		}
	}
	for name, cited := range transcripts {
		for _, ref := range cited {
			if counted[ref.RFC] && !known[ref] {
				t.Errorf("%s names RFC %d §%s, which there is not", name, ref.RFC, ref.Name)
			}
		}
	}
	for ref := range shown.Notes {
		if !known[ref] {
			t.Errorf("shown.txt names RFC %d §%s, which there is not", ref.RFC, ref.Name)
		}
	}
	for name := range shown.Beyond {
		if _, ok := transcripts[name]; !ok {
			t.Errorf("shown.txt names the transcript %s, which there is not", name)
		}
	}
	tests := testsOfTree(t)
	for i, d := range shown.Details {
		_, names, _ := strings.Cut(d, ": ")
		if !goTest.MatchString(names) && !inNote.MatchString(names) {
			t.Errorf("detail %d is shown by nothing", i+1)
		}
		shown.Notes[Ref{0, strconv.Itoa(i + 1)}] = d
		known[Ref{0, strconv.Itoa(i + 1)}] = true
	}
	for ref, note := range shown.Notes {
		for _, name := range goTest.FindAllString(note, -1) {
			if !tests[name] {
				t.Errorf("RFC %d §%s: there is no test %s", ref.RFC, ref.Name, name)
			}
		}
		for _, name := range inNote.FindAllString(note, -1) {
			if _, ok := transcripts[name]; !ok {
				t.Errorf("RFC %d §%s: there is no transcript %s", ref.RFC, ref.Name, name)
			}
		}
	}
}

// Each transcript shows a section, or says what else it is there for.
func TestEachTranscriptIsNamed(t *testing.T) {
	sections, shown, transcripts := tree(t)
	known := refs(sections)
	var noted []string
	for _, note := range shown.Notes {
		noted = append(noted, inNote.FindAllString(note, -1)...)
	}
	for name, cited := range transcripts {
		names := slices.Contains(noted, name) || slices.ContainsFunc(cited, func(ref Ref) bool { return known[ref] || shown.Missing[ref.RFC] != "" })
		if beyond := shown.Beyond[name] != ""; names == beyond {
			t.Errorf("%s: names a section is %t, is listed as beyond the texts is %t", name, names, beyond)
		}
	}
}

func TestSectionsAreOnce(t *testing.T) {
	sections, _, _ := tree(t)
	seen := map[Ref]bool{}
	for _, s := range sections {
		if ref := (Ref{s.RFC, s.Name}); seen[ref] && s.Musts > 0 {
			t.Errorf("RFC %d §%s is there twice", s.RFC, s.Name)
		} else {
			seen[ref] = true
		}
	}
}

// goTest is a test as shown.txt names it: the package's folder and the function.
var goTest = regexp.MustCompile(`[a-z0-9]+\.(?:Test|Fuzz)\w+`)

// inNote is a transcript as shown.txt names it: one whose comments do not say the section.
var inNote = regexp.MustCompile(`[a-z0-9]+/[a-z0-9_/]+\.txt`)

func testsOfTree(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := fs.WalkDir(os.DirFS(root), ".", func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && file != "." {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path.Join(root, file))
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			tests[path.Base(path.Dir(file))+"."+m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

func TestCited(t *testing.T) {
	got, err := Cited(`# One (RFC 3501 §6.3.1, §6.4.2 and RFC
# 3691 §4), and §2.
C: a NOOP
# §5.1 to §5.3 of the first; RFC 7162 §3.1.2.1
S: a OK # §9 no comment
# Appendix: §A.1, §8
`)
	want := []Ref{{3501, "6.3.1"}, {3501, "6.4.2"}, {3691, "4"}, {3691, "2"}, {3501, "5.1"}, {3501, "5.2"}, {3501, "5.3"}, {7162, "3.1.2.1"}, {3501, "A.1"}, {3501, "8"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Cited("# §2 of nothing\n"); err == nil {
		t.Error("a section of no RFC was taken")
	}
}

// A section without anything is found, and one with a note is not.
func TestUnshown(t *testing.T) {
	sections := []Section{{1, "1", 2, "a"}, {1, "2", 1, "b"}, {1, "3", 1, "c"}, {1, "4", 0, "d"}}
	got := unshown(sections, Shown{Notes: map[Ref]string{{1, "2"}: "binds clients"}}, map[Ref][]string{{1, "1"}: {"x.txt"}})
	if len(got) != 1 || got[0].Name != "3" {
		t.Errorf("%v", got)
	}
}

func TestCompareNames(t *testing.T) {
	names := []string{"10", "3.10", "3.2", "3", "A.1", "3.2.1"}
	slices.SortFunc(names, compareNames)
	if want := []string{"3", "3.2", "3.2.1", "3.10", "10", "A.1"}; !slices.Equal(names, want) {
		t.Error(names)
	}
}
