package peers

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// compare adds the verdict on one answer.
func (p *Player) compare(command string, want, got []string) string {
	verdict, ours, theirs := Compare(command, want, got)
	p.add(command, verdict, ours, theirs)
	return verdict
}

// Compare says whether two answers to a command are the same: the condition at the end and
// the data that was asked for, in whatever order. Codes, hints and news are words.
func Compare(command string, want, got []string) (verdict, ours, theirs string) {
	_, verb, _ := strings.Cut(strings.ToUpper(command), " ")
	if strings.HasPrefix(command, "(") {
		verb = ""
	}
	a, b := stops(want), stops(got)
	verdict = Same
	var mine, others []string
	if a != b {
		verdict, mine, others = Different, append(mine, a), append(others, b)
		if (a == "NO" || a == "BAD") && (b == "NO" || b == "BAD") {
			verdict = Words // refused by both: which of the two is often a matter of taste
		}
	} else if x, y := code(last(want)), code(last(got)); x != y {
		verdict, mine, others = Words, append(mine, "["+x+"]"), append(others, "["+y+"]")
	}
	x, y := data(want, verb), data(got, verb)
	for _, d := range missing(x, y) {
		verdict = worse(verdict, d)
		mine = append(mine, d.Text)
	}
	for _, d := range missing(y, x) {
		verdict = worse(verdict, d)
		others = append(others, d.Text)
	}
	if verdict == Same {
		return Same, "", ""
	}
	return verdict, strings.Join(mine, "; "), strings.Join(others, "; ")
}

func worse(verdict string, d Datum) string {
	if d.Kind == kindData {
		return Different
	}
	if verdict == Same {
		return Words
	}
	return verdict
}

// code is a response code as far as it must be the same.
func code(response string) string {
	t, ok := status(response)
	if !ok {
		return ""
	}
	switch t.Code {
	case "CAPABILITY", "HIGHESTMODSEQ", "MAILBOXID":
		return ""
	case "APPENDUID", "COPYUID":
		return t.Code + " " + codeArgs(t)
	case "MODIFIED":
		return t.Code + " " + t.Args
	}
	return t.Code
}

// data is what the untagged responses say.
func data(all []string, command string) (d []Datum) {
	var gone []int
	for _, r := range all {
		if n, ok := expunged(r); ok {
			gone = append(gone, n)
			continue
		}
		if t, ok := status(r); strings.HasPrefix(r, "+") || ok && t.Tag != "*" {
			continue
		}
		d = append(d, normal(r, command)...)
	}
	if len(gone) > 0 {
		kind := kindNews
		if strings.Contains(command, "EXPUNGE") || strings.Contains(command, "MOVE") {
			kind = kindData
		}
		d = append(d, Datum{kind, "EXPUNGE " + before(gone)})
	}
	return d
}

// expunged reads an EXPUNGE response.
func expunged(r string) (n int, ok bool) {
	f := strings.Fields(r)
	if len(f) != 3 || f[0] != "*" || !strings.EqualFold(f[2], "EXPUNGE") {
		return 0, false
	}
	n, err := strconv.Atoi(f[1])
	return n, err == nil
}

// before turns the numbers of EXPUNGE responses, each counted after the one before it, into
// those that the messages had at first: a server may begin at either end.
func before(gone []int) string {
	var first []int
	for _, n := range gone {
		for _, f := range first { // ascending
			if f <= n {
				n++
			}
		}
		at, _ := slices.BinarySearch(first, n)
		first = slices.Insert(first, at, n)
	}
	return fmt.Sprint(first)
}

// missing gives what the first has and the second has not, counted.
func missing(a, b []Datum) (all []Datum) {
	rest := slices.Clone(b)
	for _, d := range a {
		if i := slices.IndexFunc(rest, func(r Datum) bool { return r.Text == d.Text }); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			continue
		}
		all = append(all, d)
	}
	return all
}

// needs says which capability a command supposes. The first row that matches counts; rows
// are from the particular to the general.
var needs = []struct {
	pattern *regexp.Regexp
	word    string
}{
	{regexp.MustCompile(`(?i) ENABLE .*IMAP4rev2`), "IMAP4REV2"},
	{regexp.MustCompile(`(?i) ENABLE .*UTF8=ACCEPT`), "UTF8=ACCEPT"},
	{regexp.MustCompile(`(?i) ENABLE .*UIDONLY`), "UIDONLY"},
	{regexp.MustCompile(`(?i) ENABLE .*METADATA`), "METADATA"},
	{regexp.MustCompile(`(?i)\bQRESYNC\b|\bVANISHED\b`), "QRESYNC"},
	{regexp.MustCompile(`(?i)\bPARTIAL -?\d`), "PARTIAL"},
	{regexp.MustCompile(`(?i)\bCONDSTORE\b|CHANGEDSINCE|\bMODSEQ\b|HIGHESTMODSEQ`), "CONDSTORE"},
	{regexp.MustCompile(`(?i) ENABLE `), "ENABLE"},
	{regexp.MustCompile(`(?i)\bUTF8 \(`), "UTF8=ACCEPT"},
	{regexp.MustCompile(`(?i)MAILBOXID|EMAILID|THREADID`), "OBJECTID"},
	{regexp.MustCompile(`(?i)^\S+ (UID )?ESEARCH `), "MULTISEARCH"},
	{regexp.MustCompile(`(?i)\bFILTER\b`), "FILTERS"},
	{regexp.MustCompile(`(?i)SORT.*RETURN \([^)]*(UPDATE|CONTEXT)`), "CONTEXT=SORT"},
	{regexp.MustCompile(`(?i)RETURN \([^)]*(UPDATE|CONTEXT)|CANCELUPDATE`), "CONTEXT=SEARCH"},
	{regexp.MustCompile(`(?i)SEARCH.*RETURN \([^)]*SAVE|[ ,:]\$( |$)`), "SEARCHRES"},
	{regexp.MustCompile(`(?i) SORT RETURN`), "ESORT"},
	{regexp.MustCompile(`(?i) SORT \(.*DISPLAY`), "SORT=DISPLAY"},
	{regexp.MustCompile(`(?i) SORT( |$)`), "SORT"},
	{regexp.MustCompile(`(?i) THREAD REFS`), "THREAD=REFS"},
	{regexp.MustCompile(`(?i) THREAD ORDERED`), "THREAD=ORDEREDSUBJECT"},
	{regexp.MustCompile(`(?i) THREAD( |$)`), "THREAD=REFERENCES"},
	{regexp.MustCompile(`(?i)SEARCH RETURN`), "ESEARCH"},
	{regexp.MustCompile(`(?i)(YOUNGER|OLDER) \d`), "WITHIN"},
	{regexp.MustCompile(`(?i)SAVED(ATE|ON|SINCE|BEFORE)`), "SAVEDATE"},
	{regexp.MustCompile(`(?i)\bPREVIEW\b`), "PREVIEW"},
	{regexp.MustCompile(`(?i)BINARY(\.|\[)|~\{`), "BINARY"},
	{regexp.MustCompile(`(?i)X-GUID|X-MAILBOX`), "X-"},
	{regexp.MustCompile(`(?i)UIDAFTER|UIDBEFORE`), "MESSAGELIMIT"},
	{regexp.MustCompile(`(?i) UIDBATCHES`), "UIDBATCHES"},
	{regexp.MustCompile(`(?i)CATENATE`), "CATENATE"},
	{regexp.MustCompile(`(?i) REPLACE `), "REPLACE"},
	{regexp.MustCompile(`(?i) MOVE( |$)`), "MOVE"},
	{regexp.MustCompile(`(?i) UID EXPUNGE`), "UIDPLUS"},
	{regexp.MustCompile(`(?i) NOTIFY`), "NOTIFY"},
	{regexp.MustCompile(`(?i)(GET|SET)METADATA`), "METADATA"},
	{regexp.MustCompile(`(?i)LIST.*RETURN.*METADATA`), "LIST-METADATA"},
	{regexp.MustCompile(`(?i)LIST.*RETURN.*MYRIGHTS`), "LIST-MYRIGHTS"},
	{regexp.MustCompile(`(?i)LIST.*RETURN.*STATUS`), "LIST-STATUS"},
	{regexp.MustCompile(`(?i)LIST \(|LIST .*RETURN|LIST \S+ \(`), "LIST-EXTENDED"},
	{regexp.MustCompile(`(?i)CREATE .*\(USE`), "CREATE-SPECIAL-USE"},
	{regexp.MustCompile(`(?i)APPENDLIMIT`), "APPENDLIMIT"},
	{regexp.MustCompile(`(?i)STATUS.*\bSIZE\b`), "STATUS=SIZE"},
	{regexp.MustCompile(`(?i)STATUS.*DELETED`), "QUOTA=RES-STORAGE"},
	{regexp.MustCompile(`(?i)QUOTA`), "QUOTA"},
	{regexp.MustCompile(`(?i)ACL |RIGHTS`), "ACL"},
	{regexp.MustCompile(`(?i) LANGUAGE`), "LANGUAGE"},
	{regexp.MustCompile(`(?i) COMPRESS`), "COMPRESS=DEFLATE"},
	{regexp.MustCompile(`(?i) UNSELECT`), "UNSELECT"},
	{regexp.MustCompile(`(?i) NAMESPACE`), "NAMESPACE"},
	{regexp.MustCompile(`(?i) IDLE`), "IDLE"},
	{regexp.MustCompile(`(?i)^\S+ ID `), "ID"},
}

// Needs gives the capability that a command supposes, "" for none but the revision's.
func Needs(command string) string {
	for _, n := range needs {
		if n.pattern.MatchString(command) {
			return n.word
		}
	}
	return ""
}
