// Package query is the language in which an operator says which messages he
// means: the keys of IMAP's SEARCH (RFC 3501 §6.4.4, RFC 5032, RFC 8514) as
// words of a command line, with dates and sizes as people write them.
//
// Only mailtool uses it. It reads messages through mailstore; the time is given.
package query

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/numset"
)

// Bounds of one query: each key is asked about each message.
const (
	maxKeys   = 4096
	maxDepth  = 64
	maxRanges = 65536
)

// kind says what a key looks at.
type kind uint8

const (
	kAll kind = iota
	kAnd
	kOr
	kNot
	kFlag
	kKeyword
	kUID
	kSeq
	kInternal // INTERNALDATE
	kSaved    // SAVEDATE
	kSent     // Date:
	kSize
	kGUID
	kHeader
	kBody
	kText
)

// order says how a date or a size is compared.
type order int8

const (
	before order = -1 // BEFORE, SMALLER, OLDER
	on     order = 0
	since  order = 1 // SINCE, LARGER, YOUNGER
)

// node is one key, with those within it.
type node struct {
	kind  kind
	sub   []*node
	flag  mailstore.Flags
	name  string
	expr  numset.Expr
	nums  numset.Set
	order order
	at    time.Time // a day's beginning, or a moment if exact
	exact bool
	size  int64
	key   *message.Key
}

// Query is what was asked for. It serves one goroutine.
type Query struct{ root *node }

// parser walks over the words.
type parser struct {
	words []string
	next  int
	keys  int
	now   time.Time
}

// Parse reads words; none mean all messages. now is what relative dates count from.
func Parse(words []string, now time.Time) (*Query, error) {
	p := &parser{words: words, now: now}
	root, err := p.list(0, false)
	if err != nil {
		return nil, err
	}
	return &Query{root}, nil
}

// list reads keys, all of which must hold, up to the end or a ")".
func (p *parser) list(depth int, nested bool) (*node, error) {
	n := &node{kind: kAnd}
	for p.next < len(p.words) {
		if p.words[p.next] == ")" {
			if !nested {
				return nil, fmt.Errorf("a ) without its (")
			}
			p.next++
			return n, p.nonEmpty(n)
		}
		k, err := p.key(depth)
		if err != nil {
			return nil, err
		}
		n.sub = append(n.sub, k)
	}
	if nested {
		return nil, fmt.Errorf("a ( without its )")
	}
	return n, nil
}

func (p *parser) nonEmpty(n *node) error {
	if len(n.sub) == 0 {
		return fmt.Errorf("there is nothing between ( and )")
	}
	return nil
}

// take gives the next word; after is the key that needs it.
func (p *parser) take(after, what string) (string, error) {
	if p.next >= len(p.words) {
		return "", fmt.Errorf("%s needs %s behind it", after, what)
	}
	p.next++
	return p.words[p.next-1], nil
}

// flagKeys are the keys of one word about a flag.
var flagKeys = map[string]mailstore.Flags{"ANSWERED": mailstore.Answered, "DELETED": mailstore.Deleted, "DRAFT": mailstore.Draft, "FLAGGED": mailstore.Flagged, "SEEN": mailstore.Seen}

// dateKeys are the keys with a date.
var dateKeys = map[string]node{
	"BEFORE": {kind: kInternal, order: before}, "ON": {kind: kInternal, order: on}, "SINCE": {kind: kInternal, order: since},
	"SENTBEFORE": {kind: kSent, order: before}, "SENTON": {kind: kSent, order: on}, "SENTSINCE": {kind: kSent, order: since},
	"SAVEDBEFORE": {kind: kSaved, order: before}, "SAVEDON": {kind: kSaved, order: on}, "SAVEDSINCE": {kind: kSaved, order: since},
}

// headerKeys are the keys that look into one field.
var headerKeys = map[string]string{"BCC": "Bcc", "CC": "Cc", "FROM": "From", "SUBJECT": "Subject", "TO": "To"}

// Keys lists the words, for completion and for messages.
func Keys() []string {
	keys := []string{"all", "not", "or", "keyword", "unkeyword", "uid", "larger", "smaller", "older", "younger", "header", "body", "text", "guid"}
	for k := range flagKeys {
		keys = append(keys, strings.ToLower(k), "un"+strings.ToLower(k))
	}
	for k := range dateKeys {
		keys = append(keys, strings.ToLower(k))
	}
	for k := range headerKeys {
		keys = append(keys, strings.ToLower(k))
	}
	slices.Sort(keys)
	return keys
}

func (p *parser) key(depth int) (*node, error) {
	if p.keys++; p.keys > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	word := p.words[p.next]
	p.next++
	up := strings.ToUpper(word)
	if f, ok := flagKeys[up]; ok {
		return &node{kind: kFlag, flag: f}, nil
	}
	if f, ok := flagKeys[strings.TrimPrefix(up, "UN")]; ok {
		return not(&node{kind: kFlag, flag: f}), nil
	}
	if d, ok := dateKeys[up]; ok {
		return p.date(up, d)
	}
	if h, ok := headerKeys[up]; ok {
		return p.text(up, node{kind: kHeader, name: h})
	}
	switch up {
	case "(":
		return p.list(depth+1, true)
	case "ALL":
		return &node{kind: kAll}, nil
	case "NOT":
		return p.operator(up, kNot, 1, depth)
	case "OR":
		return p.operator(up, kOr, 2, depth)
	case "BODY":
		return p.text(up, node{kind: kBody})
	case "TEXT":
		return p.text(up, node{kind: kText})
	}
	return p.valued(word, up)
}

func not(n *node) *node { return &node{kind: kNot, sub: []*node{n}} }

// operator reads the keys that one of the words NOT and OR takes.
func (p *parser) operator(word string, k kind, count, depth int) (*node, error) {
	n := &node{kind: k}
	for range count {
		if p.next >= len(p.words) {
			return nil, fmt.Errorf("%s needs %d keys behind it", word, count)
		}
		sub, err := p.key(depth + 1)
		if err != nil {
			return nil, err
		}
		n.sub = append(n.sub, sub)
	}
	return n, nil
}

func (p *parser) text(word string, n node) (*node, error) {
	text, err := p.take(word, "a text")
	if err != nil {
		return nil, err
	}
	n.key, err = message.NewKey("UTF-8", []byte(text))
	return &n, err
}

// valued reads the other keys with a value.
func (p *parser) valued(word, up string) (*node, error) {
	switch up {
	case "KEYWORD", "UNKEYWORD":
		v, err := p.take(up, "a keyword")
		n := &node{kind: kKeyword, name: v}
		if up == "UNKEYWORD" {
			n = not(n)
		}
		return n, err
	case "UID":
		v, err := p.take(up, "UIDs as 1,5:9,20:*")
		if err != nil {
			return nil, err
		}
		return set(kUID, v)
	case "LARGER", "SMALLER":
		v, err := p.take(up, "a size as 10k or 2M")
		if err != nil {
			return nil, err
		}
		size, err := parseSize(v)
		return &node{kind: kSize, size: size, order: map[string]order{"LARGER": since, "SMALLER": before}[up]}, err
	case "OLDER", "YOUNGER":
		v, err := p.take(up, "a time as 30d or 12h")
		if err != nil {
			return nil, err
		}
		ago, err := ParseAgo(v)
		return &node{kind: kInternal, exact: true, at: p.now.Add(-ago), order: map[string]order{"YOUNGER": since, "OLDER": before}[up]}, err
	case "GUID":
		v, err := p.take(up, "a GUID")
		return &node{kind: kGUID, name: strings.ToLower(v)}, err
	case "HEADER":
		name, err := p.take(up, "a field's name and a text")
		if err != nil {
			return nil, err
		}
		return p.text(up+" "+name, node{kind: kHeader, name: name})
	}
	if word != "" && (word[0] >= '0' && word[0] <= '9' || word[0] == '*') {
		return set(kSeq, word)
	}
	return nil, fmt.Errorf("%q is no key; there are: %s", word, strings.Join(Keys(), ", "))
}

func set(k kind, text string) (*node, error) {
	e, err := numset.Parse([]byte(text), maxRanges)
	if err != nil {
		return nil, fmt.Errorf("%q are no numbers as 1,5:9,20:*", text)
	}
	return &node{kind: k, expr: e}, nil
}

// date reads a day, or how long ago: then the moment counts, not the day.
func (p *parser) date(word string, n node) (*node, error) {
	v, err := p.take(word, "a date as 2024-02-01, 1-Feb-2024 or 3d")
	if err != nil {
		return nil, err
	}
	if ago, err := ParseAgo(v); err == nil && n.order != on {
		n.at, n.exact = p.now.Add(-ago), true
		return &n, nil
	}
	switch strings.ToLower(v) {
	case "today":
		n.at = p.now
		return &n, nil
	case "yesterday":
		n.at = p.now.AddDate(0, 0, -1)
		return &n, nil
	}
	for _, layout := range []string{"2006-01-02", "2-Jan-2006"} {
		if t, err := time.Parse(layout, v); err == nil {
			n.at = t
			return &n, nil
		}
	}
	return nil, fmt.Errorf("%s: %q is no date; write 2024-02-01, 1-Feb-2024, today, yesterday or, for a time ago, 3d", word, v)
}

var agoForm = regexp.MustCompile(`^([0-9]{1,9})(s|m|h|d|w|mo|y|secs?|mins?|hours?|days?|weeks?|months?|years?)?$`)

// ParseAgo reads how long ago: a number of seconds, or of the unit behind it. A
// month is 30 days, a year 365.
func ParseAgo(text string) (time.Duration, error) {
	m := agoForm.FindStringSubmatch(strings.ToLower(text))
	if m == nil {
		return 0, fmt.Errorf("%q is no length of time; write 30d, 12h, 90m or seconds", text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0, err
	}
	unit := time.Second
	const day = 24 * time.Hour
	switch m[2] {
	case "m", "min", "mins":
		unit = time.Minute
	case "h", "hour", "hours":
		unit = time.Hour
	case "d", "day", "days":
		unit = day
	case "w", "week", "weeks":
		unit = 7 * day
	case "mo", "month", "months":
		unit = 30 * day
	case "y", "year", "years":
		unit = 365 * day
	}
	if limit := int64(100*365*day) / int64(unit); int64(n) > limit {
		return 0, fmt.Errorf("%q is more than 100 years", text)
	}
	return time.Duration(n) * unit, nil
}

var sizeForm = regexp.MustCompile(`^([0-9]{1,15})([kKmMgGtT]?)i?[bB]?$`)

// parseSize reads octets: 500, 10k, 2M, 1G; k is 1024.
func parseSize(text string) (int64, error) {
	m := sizeForm.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is no size; write 500, 10k, 2M or 1G", text)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, err
	}
	power := 0
	if m[2] != "" {
		power = 1 + strings.Index("kmgt", strings.ToLower(m[2]))
	}
	for range power {
		if n > 1<<52 {
			return 0, fmt.Errorf("%q is too large", text)
		}
		n <<= 10
	}
	return n, nil
}
