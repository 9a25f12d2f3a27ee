package sorting

import (
	"strings"

	"rookery/imapworker/internal/search"
	"rookery/imapworker/internal/thread"
	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/message"
)

// criterion is one of the things that a command sorts by.
type criterion struct {
	key     sortKey
	reverse bool
}

// header reports whether it needs the message's header.
func (c criterion) header() bool { return c.key.kind == kText || c.key.kind == kSent }

// sortKey says what is compared.
type sortKey struct {
	kind keyKind
	text text // of kText
}

type keyKind uint8

const (
	kText keyKind = iota
	kSent
	kArrival
	kSize
)

var sortKeys = map[string]sortKey{
	"ARRIVAL":     {kind: kArrival},
	"CC":          {text: cc},
	"DATE":        {kind: kSent},
	"DISPLAYFROM": {text: displayFrom},
	"DISPLAYTO":   {text: displayTo},
	"FROM":        {text: from},
	"SIZE":        {kind: kSize},
	"SUBJECT":     {text: subject},
	"TO":          {text: to},
}

// maxCriteria bounds a list of criteria: more than there are, each way.
const maxCriteria = 32

// sortCommand is a SORT, parsed.
type sortCommand struct {
	kept     *kept
	limits   message.Limits
	program  *search.Program
	criteria []criterion
}

// Sort gives the parser of SORT and UID SORT.
//
//	sort = ["UID" SP] "SORT" SP sort-criteria SP search-criteria   RFC 5256 §5
//	sort =/ "SORT" search-return-opts SP sort-criteria SP search-criteria
//	                                                    RFC 5267 §5
func Sort(cfg search.Config) view.Parse {
	kept := &kept{}
	return func(d *imapwire.Decoder, _ bool) (view.Job, bool) {
		c := &sortCommand{kept: kept, limits: cfg.Limits, program: search.NewProgram(cfg)}
		ok := d.WantSP() && c.program.WantReturn(d) && d.WantList(func() bool { return c.criterion(d) }) && d.WantSP() && c.program.WantCriteria(d)
		return c, ok
	}
}

// Numbered is for view.Numbered.
func (c *sortCommand) Numbered() bool { return c.program.Numbered() }

// criterion reads ["REVERSE" SP] sort-key.
func (c *sortCommand) criterion(d *imapwire.Decoder) bool {
	var word string
	if !d.WantWord(&word) {
		return false
	}
	var one criterion
	if strings.EqualFold(word, "REVERSE") {
		one.reverse = true
		if !d.WantSP() || !d.WantWord(&word) {
			return false
		}
	}
	var ok bool
	if one.key, ok = sortKeys[strings.ToUpper(word)]; !ok || len(c.criteria) == maxCriteria {
		return d.Fail("a sort criterion")
	}
	c.criteria = append(c.criteria, one)
	return true
}

// algorithms are those of THREAD.
var algorithms = map[string]struct {
	build func([]thread.Message) *thread.Forest
	needs needs
}{
	"ORDEREDSUBJECT": {thread.OrderedSubject, needsSubject},
	"REFERENCES":     {thread.References, needsSubject | needsRefs},
	"REFS":           {thread.Refs, needsRefs},
}

// needs says what an algorithm looks at, beside the sent date.
type needs uint8

const (
	needsSubject needs = 1 << iota
	needsRefs
)

// threadCommand is a THREAD, parsed.
type threadCommand struct {
	kept    *kept
	name    string // of the algorithm
	limits  message.Limits
	program *search.Program
	build   func([]thread.Message) *thread.Forest
	needs   needs
}

// Numbered is for view.Numbered.
func (c *threadCommand) Numbered() bool { return c.program.Numbered() }

// Thread gives the parser of THREAD and UID THREAD.
//
//	thread = ["UID" SP] "THREAD" SP thread-alg SP search-criteria   RFC 5256 §5
func Thread(cfg search.Config) view.Parse {
	kept := &kept{}
	return func(d *imapwire.Decoder, _ bool) (view.Job, bool) {
		c := &threadCommand{kept: kept, limits: cfg.Limits, program: search.NewProgram(cfg)}
		var name string
		if !d.WantSP() || !d.WantWord(&name) {
			return nil, false
		}
		c.name = strings.ToUpper(name)
		algorithm, ok := algorithms[c.name]
		if !ok {
			return nil, d.Fail("ORDEREDSUBJECT, REFERENCES or REFS")
		}
		c.build, c.needs = algorithm.build, algorithm.needs
		return c, d.WantSP() && c.program.WantCriteria(d)
	}
}
