package search

import (
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
)

// filter is a key FILTER: what the user has stored under name stands for it
// (RFC 5466 §3.1). It is text that is put in the key's place, "inserted verbatim":
// the keys of "NOT FILTER x" are not all denied where x has several.
type filter struct {
	name       string
	start, end int // of the key in the command's criteria, as bytes
}

const (
	// maxFilters bounds the filters of one pass.
	maxFilters = 256
	// filterPasses is how often filters are replaced by their keys: "at least 3
	// substitution passes" (RFC 5466 §3.1). What is left then is a loop, or as good
	// as one.
	filterPasses = 5
	// maxCriteria is how many bytes the keys may become.
	maxCriteria = 64 << 10
)

// filterLimits bound the keys of filters as those of commands are.
var filterLimits = imapwire.Limits{Line: maxCriteria, Literal: maxCriteria, LiteralsTotal: maxCriteria, LiteralCount: 1 << 10, Depth: 64, Items: 1 << 16}

// wantFilterName demands filter-name = 1*<any ATOM-CHAR except "/"> (RFC 5466 §4).
func wantFilterName(d *imapwire.Decoder, name *string) bool {
	return d.WantAtom(name) && (!strings.Contains(*name, "/") || d.Fail(`a filter's name without "/"`))
}

func (c *command) addFilter(f filter, d *imapwire.Decoder) bool {
	if len(c.filters) == maxFilters {
		return d.Fail("fewer filters")
	}
	c.filters = append(c.filters, f)
	return true
}

// CheckFilter is nil for keys that can be stored as a filter (RFC 5466 §3.2: "The
// server SHOULD verify that each search criterion stored in such a server entry is a
// full and correct search criterion"). Its error says what is wrong with them.
func CheckFilter(keys string) error {
	c := &command{root: &node{kind: kAnd}}
	d := imapwire.NewDecoder([]byte(keys), filterLimits)
	if !c.wantCriteria(d) {
		return errkind.New("filter", errkind.Invalid, d.Err())
	}
	return nil
}

// expand replaces the command's filters by their keys.
func (c *command) expand(ctx *view.Context) (refused view.Reply, err error) {
	if len(c.filters) == 0 {
		return view.Reply{}, nil
	}
	if ctx.Filter == nil {
		return view.Bad("There are no filters here."), nil
	}
	if c.charset != "" && !strings.EqualFold(c.charset, utf8Charset) && !strings.EqualFold(c.charset, "US-ASCII") {
		// RFC 5466 §3.1: "MUST result in the tagged BAD response […] MUST contain
		// the BADCHARSET response code"
		reply := badCharset
		reply.Cond, reply.Text = imapwire.BAD, "Filters are searched for in UTF-8."
		return reply, nil
	}
	c.charset = utf8Charset
	for pass := 0; len(c.filters) > 0; pass++ {
		if pass == filterPasses {
			return undefinedFilter(c.filters[0].name), nil
		}
		if refused, err := c.substitute(ctx); refused.Cond != "" || err != nil {
			return refused, err
		}
	}
	if c.numbered && ctx.Enc.Options.UIDOnly {
		// RFC 9586 §3: what a filter hides is refused as what is written out.
		return view.Reply{Cond: imapwire.BAD, Code: imapwire.Code{Name: "UIDREQUIRED"}, Text: "UIDONLY is enabled: a filter names messages by their numbers."}, nil
	}
	return view.Reply{}, nil
}

const utf8Charset = "UTF-8"

// substitute is one pass over the filters.
func (c *command) substitute(ctx *view.Context) (refused view.Reply, err error) {
	var text []byte
	at := 0
	for _, f := range c.filters {
		keys, ok, err := ctx.Filter(f.name)
		if err != nil {
			return view.Reply{}, err
		}
		if !ok {
			return undefinedFilter(f.name), nil
		}
		if err := CheckFilter(keys); err != nil {
			return view.No("", "Filter "+f.name+" holds no search keys."), nil
		}
		text = append(append(text, c.criteria[at:f.start]...), keys...)
		at = f.end
		if len(text) > maxCriteria {
			return view.No("LIMIT", "Filters become too many search keys."), nil
		}
	}
	text = append(text, c.criteria[at:]...)
	again := &command{cfg: c.cfg, root: &node{kind: kAnd}}
	if !again.wantCriteria(imapwire.NewDecoder(text, filterLimits)) {
		return view.No("", "Filters and search keys do not go together."), nil
	}
	c.root, c.filters, c.criteria = again.root, again.filters, again.criteria
	c.modSeq, c.numbered = c.modSeq || again.modSeq, c.numbered || again.numbered
	return view.Reply{}, nil
}

func undefinedFilter(name string) view.Reply {
	return view.Reply{Cond: imapwire.NO, Code: imapwire.Code{Name: "UNDEFINED-FILTER", Args: name}, Text: "There is no such filter."}
}
