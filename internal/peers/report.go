package peers

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Report is what one peer answered.
type Report struct {
	Peer, Title string
	Outcomes    []Outcome
}

// Judgement says who is right by the text about differences of one kind.
type Judgement struct {
	peer, file, command, data *regexp.Regexp
	Right                     string // "ours", "theirs", "both" or "test": our comparison cannot tell
	Why                       string // with the section
}

// Rights are what a judgement may say.
var Rights = []string{"ours", "theirs", "both", "test"}

// ReadJudgements reads peers/judged.txt: lines of six fields between bars,
//
//	dovecot | session/list.* | LIST | \\Subscribed | both | RFC 5258 §3: …
//
// peer, transcript, command and difference ("ours => theirs") as regular expressions, "."
// for any; who is right; why. The first line that fits counts.
func ReadJudgements(text string) (all []Judgement, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, " | ", 6)
		if len(f) < 6 || !slices.Contains(Rights, f[4]) {
			return nil, fmt.Errorf("judged.txt: %q", line)
		}
		j := Judgement{Right: f[4], Why: f[5]}
		for i, to := range []**regexp.Regexp{&j.peer, &j.file, &j.command, &j.data} {
			if *to, err = regexp.Compile("(?i)" + strings.TrimSpace(f[i])); err != nil {
				return nil, fmt.Errorf("judged.txt: %q: %w", line, err)
			}
		}
		all = append(all, j)
	}
	return all, nil
}

// judge gives the judgement on a difference, nil where there is none.
func judge(judged []Judgement, peer string, o Outcome) *Judgement {
	for i := range judged {
		j := &judged[i]
		if j.peer.MatchString(peer) && j.file.MatchString(o.Transcript) && j.command.MatchString(o.Command) && j.data.MatchString(o.Ours+" => "+o.Theirs) {
			return j
		}
	}
	return nil
}

// area is a transcript's folder: "session/qresync", "fetch".
func area(transcript string) string { return path.Dir(transcript) }

// Differences lists each difference without a judgement, for who writes these.
func (r Report) Differences(judged []Judgement) string {
	var b strings.Builder
	for _, o := range r.Outcomes {
		if o.Verdict == Different && judge(judged, r.Peer, o) == nil {
			fmt.Fprintf(&b, "%s %s: %s\n    ours   %s\n    theirs %s\n", r.Peer, o.Transcript, o.Command, o.Ours, o.Theirs)
		}
	}
	return b.String()
}

// OtherWords lists what differs in codes and hints, each kind once, with an example.
func (r Report) OtherWords() string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, o := range r.Outcomes {
		if kind := o.Ours + " => " + o.Theirs; o.Verdict == Words && !seen[kind] {
			seen[kind] = true
			fmt.Fprintf(&b, "%s words %s (%s: %s)\n", r.Peer, kind, o.Transcript, short(o.Command))
		}
	}
	return b.String()
}

// count is how many commands had each verdict.
type count map[string]int

func (r Report) counts() (areas []string, by map[string]count) {
	by = map[string]count{}
	for _, o := range r.Outcomes {
		a := area(o.Transcript)
		if by[a] == nil {
			by[a] = count{}
			areas = append(areas, a)
		}
		by[a][o.Verdict]++
	}
	slices.Sort(areas)
	return areas, by
}

// verdicts in the order of the page's columns.
var verdicts = []string{Same, Words, Different, Lacks, Unplayed}

// Summary is the counts in one line each.
func (r Report) Summary(judged []Judgement) string {
	total, open := count{}, 0
	for _, o := range r.Outcomes {
		total[o.Verdict]++
		if o.Verdict == Different && judge(judged, r.Peer, o) == nil {
			open++
		}
	}
	return fmt.Sprintf("%s: %d same, %d other words, %d different (%d without judgement), %d lack a capability, %d not played\n",
		r.Title, total[Same], total[Words], total[Different], open, total[Lacks], total[Unplayed])
}

const pageHead = `# Our transcripts, played to others

Written by ` + "`make peers`" + ` from what Debian's Dovecot and Cyrus answer; do not edit. Who is right is said in peers/judged.txt.

Each command of each transcript (docs/IMAP-sections.md) that the server has the capability for was sent to it, in mailboxes that
were seeded by APPEND. *Same* is the same condition at the end and the same data, in any order, with values such as UIDVALIDITY,
mod-sequences and object identifiers left out. *Other words* is another code or hint, BAD where we say NO, or news (EXISTS, EXPUNGE,
flags of others) at another time, as the RFCs leave it free. *Not played* is what supposes settings or times that cannot be given
to it, and what comes behind a difference that makes the rest mean nothing.
`

// Page makes docs/PEERS.md.
func Page(reports []Report, judged []Judgement) string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, r := range reports {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n| area | same | other words | different | capability missing | not played |\n|---|---|---|---|---|---|\n", r.Title, r.Summary(judged))
		areas, by := r.counts()
		for _, a := range areas {
			fmt.Fprintf(&b, "| %s |", a)
			for _, v := range verdicts {
				fmt.Fprintf(&b, " %d |", by[a][v])
			}
			b.WriteString("\n")
		}
		r.writeJudged(&b, judged)
	}
	return b.String()
}

// writeJudged lists differences under their judgements, and those without.
func (r Report) writeJudged(b *strings.Builder, judged []Judgement) {
	under := map[*Judgement][]Outcome{}
	for _, o := range r.Outcomes {
		if o.Verdict == Different {
			j := judge(judged, r.Peer, o)
			under[j] = append(under[j], o)
		}
	}
	var order []*Judgement
	for j := range under {
		if j != nil {
			order = append(order, j)
		}
	}
	slices.SortFunc(order, func(x, y *Judgement) int {
		return cmp.Or(slices.Index(Rights, x.Right)-slices.Index(Rights, y.Right), len(under[y])-len(under[x]), cmp.Compare(x.Why, y.Why))
	})
	if len(order) > 0 {
		b.WriteString("\n| who is right | differences | why | for example |\n|---|---|---|---|\n")
	}
	for _, j := range order {
		o := under[j][0]
		fmt.Fprintf(b, "| %s | %d | %s | %s: `%s` |\n", j.Right, len(under[j]), cell(j.Why), o.Transcript, cell(short(o.Command)))
	}
	if open := under[nil]; len(open) > 0 {
		b.WriteString("\nWithout judgement:\n\n| transcript | command | ours | theirs |\n|---|---|---|---|\n")
		for _, o := range open {
			fmt.Fprintf(b, "| %s | `%s` | %s | %s |\n", o.Transcript, cell(short(o.Command)), cell(short(o.Ours)), cell(short(o.Theirs)))
		}
	}
}

// cell is text in a table: no bars, line ends or octets that cannot be shown.
func cell(s string) string {
	s = strings.NewReplacer("|", "\\|", "\r", "", "\n", " ").Replace(strings.ToValidUTF8(s, "?"))
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return '?'
		}
		return r
	}, s)
}

func short(s string) string {
	const most = 160
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
