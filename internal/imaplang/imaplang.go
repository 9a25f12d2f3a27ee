// Package imaplang has the texts of IMAP's answers in the languages that LANGUAGE
// offers (RFC 5255 §3): one table by the English text.
//
// login and the IMAP worker use it. It is pure; it must never know a session, and
// nothing may depend on a text: clients go by codes.
package imaplang

import (
	"strings"
	"sync"
)

// Default is the language that every session begins in (RFC 5255 §3.1: a server
// "MUST use the language i-default"): English, in US-ASCII alone.
const Default = "i-default"

// Languages are the tags of what there is, in the order in which they are listed.
func Languages() []string { return []string{Default, "en", "de", "fr", "es", "ja"} }

// column gives a language's place in a row; -1 for English.
func column(tag string) int {
	switch tag {
	case "de":
		return 0
	case "fr":
		return 1
	case "es":
		return 2
	case "ja":
		return 3
	}
	return -1
}

// MaxRange bounds a language range, in octets.
const MaxRange = 64

// Valid reports whether text is a language range: the word "default", "*", or
// subtags of 1 to 8 letters and digits, the first of letters alone (RFC 4647 §2.1).
func Valid(text string) bool {
	if len(text) > MaxRange {
		return false
	}
	if text == "*" {
		return true
	}
	for i, part := range strings.Split(text, "-") {
		if len(part) == 0 || len(part) > 8 {
			return false
		}
		for j := range len(part) {
			c := part[j] | 0x20
			if (c < 'a' || c > 'z') && (i == 0 || part[j] < '0' || part[j] > '9') {
				return false
			}
		}
	}
	return true
}

// Match finds the first of some language ranges that there is a language for. A
// range is cut at its end until it names one: "de-AT" is "de" (RFC 4647 §3.4).
// "default" and "*" are the language that the administrator prefers.
func Match(ranges []string) (tag string, ok bool) {
	for _, r := range ranges {
		r = strings.ToLower(r)
		if r == "default" || r == "*" {
			return Default, true
		}
		for r != "" {
			for _, tag := range Languages() {
				if r == tag {
					return tag, true
				}
			}
			cut := strings.LastIndexByte(r, '-')
			if r = r[:max(cut, 0)]; len(r) > 2 && r[len(r)-2] == '-' {
				r = r[:len(r)-2] // a single letter begins an extension: it goes with it
			}
		}
	}
	return "", false
}

// row is a text in all languages: German, French, Spanish, Japanese. "%" in the
// English text stands for any words, which go to where the others have it.
type row struct {
	english string
	other   [4]string
}

// index finds rows.
type index struct {
	whole  map[string]*row
	inPart []*row // those with "%"
}

var rows = sync.OnceValue(func() (x index) {
	x.whole = make(map[string]*row, len(table))
	for i := range table {
		r := &table[i]
		if strings.Contains(r.english, "%") {
			x.inPart = append(x.inPart, r)
		} else {
			x.whole[r.english] = r
		}
	}
	return x
})

// Text gives an English text in a language. What has no translation stays English
// (RFC 5255 demands none of any text).
func Text(tag, english string) string {
	if out, ok := lookup(tag, english); ok {
		return out
	}
	return english
}

// Has reports whether a text is in the table: for tests.
func Has(english string) bool {
	_, ok := lookup("de", english)
	return ok
}

func lookup(tag, english string) (string, bool) {
	at := column(tag)
	if at < 0 {
		return "", false
	}
	x := rows()
	if r := x.whole[english]; r != nil {
		return r.other[at], true
	}
	for _, r := range x.inPart {
		before, after, _ := strings.Cut(r.english, "%")
		if words, ok := strings.CutPrefix(english, before); ok {
			if words, ok = strings.CutSuffix(words, after); ok && words != "" {
				return strings.Replace(r.other[at], "%", words, 1), true
			}
		}
	}
	return "", false
}

// OthersName and SharedName are what a client can show for the namespaces of other
// users and of shared mailboxes (RFC 5255 §3.4); "" in English.
func OthersName(tag string) string {
	return pick(tag, [4]string{"Andere Benutzer", "Autres utilisateurs", "Otros usuarios", "他のユーザー"})
}

// SharedName is OthersName for the shared namespace.
func SharedName(tag string) string {
	return pick(tag, [4]string{"Gemeinsame Ordner", "Dossiers partagés", "Carpetas compartidas", "共有フォルダー"})
}

func pick(tag string, other [4]string) string {
	if at := column(tag); at >= 0 {
		return other[at]
	}
	return ""
}
