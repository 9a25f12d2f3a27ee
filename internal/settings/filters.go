package settings

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// filterCall is one "| name(arguments)" of a variable.
type filterCall struct {
	name string
	args []string
}

// filterValue is what goes through a chain. Sums are bytes until a filter
// writes them as text; at the chain's end they become hexadecimal, so that
// %{user | md5} is what Dovecot 2.3's %Mu was.
type filterValue struct {
	text   string
	binary bool
}

type filter struct {
	minArgs, maxArgs int
	numbers          bool // all arguments are whole numbers
	run              func(v filterValue, args []string) (filterValue, error)
}

func textFilter(f func(string) string) filter {
	return filter{run: func(v filterValue, _ []string) (filterValue, error) {
		return filterValue{text: f(v.text)}, nil
	}}
}

func sumFilter(f func([]byte) []byte) filter {
	return filter{run: func(v filterValue, _ []string) (filterValue, error) {
		return filterValue{text: string(f([]byte(v.text))), binary: true}, nil
	}}
}

// filters are those of Dovecot 2.4 that need no regular expressions, no keys
// and no arithmetic.
var filters = map[string]filter{
	"lower":        textFilter(strings.ToLower),
	"upper":        textFilter(strings.ToUpper),
	"username":     textFilter(func(s string) string { u, _, _ := strings.Cut(s, "@"); return u }),
	"domain":       textFilter(domainFirst),
	"domain_first": textFilter(func(s string) string { d, _, _ := strings.Cut(domainFirst(s), "@"); return d }),
	"domain_last":  textFilter(domainLast),
	"reverse":      textFilter(reverse),
	"md5":          sumFilter(func(b []byte) []byte { s := md5.Sum(b); return s[:] }),
	"sha1":         sumFilter(func(b []byte) []byte { s := sha1.Sum(b); return s[:] }),
	"sha256":       sumFilter(func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }),
	"sha384":       sumFilter(func(b []byte) []byte { s := sha512.Sum384(b); return s[:] }),
	"sha512":       sumFilter(func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }),
	"base64":       textFilter(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
	"hexlify":      {maxArgs: 1, numbers: true, run: hexlify},
	"hex":          {maxArgs: 1, numbers: true, run: hexNumber},
	"substr":       {minArgs: 1, maxArgs: 2, numbers: true, run: substr},
	"truncate":     {minArgs: 1, maxArgs: 1, numbers: true, run: truncate},
	"default":      {minArgs: 1, maxArgs: 1, run: defaultTo},
	"lfill":        {minArgs: 1, maxArgs: 2, run: fill},
	"rfill":        {minArgs: 1, maxArgs: 2, run: fillRight},
}

func parseFilter(text string) (filterCall, error) {
	name, rest, hasArgs := strings.Cut(text, "(")
	call := filterCall{name: strings.TrimSpace(name)}
	f, known := filters[call.name]
	if !known {
		names := make([]string, 0, len(filters))
		for n := range filters {
			names = append(names, n)
		}
		sort.Strings(names)
		if near := Nearest(call.name, names); near != "" {
			return call, fmt.Errorf("the filter %q is not known; did you mean %q?", call.name, near)
		}
		return call, fmt.Errorf("the filter %q is not known; known are %s", call.name, strings.Join(names, ", "))
	}
	if hasArgs {
		rest = strings.TrimSpace(rest)
		if !strings.HasSuffix(rest, ")") {
			return call, fmt.Errorf("the filter %q lacks its closing )", text)
		}
		if inside := strings.TrimSpace(rest[:len(rest)-1]); inside != "" {
			for _, arg := range splitOutside(inside, ',') {
				call.args = append(call.args, unquoteArg(strings.TrimSpace(arg)))
			}
		}
	}
	if len(call.args) < f.minArgs || len(call.args) > f.maxArgs {
		return call, fmt.Errorf("the filter %q takes %d to %d arguments", call.name, f.minArgs, f.maxArgs)
	}
	for i, arg := range call.args {
		if n, err := strconv.Atoi(arg); (f.numbers || strings.HasSuffix(call.name, "fill") && i == 0) && (err != nil || n < -maxTemplate || n > maxTemplate) {
			return call, fmt.Errorf("the filter %q needs a whole number, not %q", call.name, arg)
		}
	}
	return call, nil
}

func unquoteArg(arg string) string {
	if len(arg) < 2 || arg[0] != '\'' && arg[0] != '"' || arg[len(arg)-1] != arg[0] {
		return arg
	}
	var b strings.Builder
	inner := arg[1 : len(arg)-1]
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String()
}

func applyFilters(value string, calls []filterCall) (string, error) {
	v := filterValue{text: value}
	for _, call := range calls {
		var err error
		if v, err = filters[call.name].run(v, call.args); err != nil {
			return "", fmt.Errorf("%s: %w", call.name, err)
		}
		if len(v.text) > maxResult {
			return "", errors.New("the value is too long")
		}
	}
	if v.binary {
		return hex.EncodeToString([]byte(v.text)), nil
	}
	return v.text, nil
}

func domainFirst(s string) string { _, d, _ := strings.Cut(s, "@"); return d }

func domainLast(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return s[i+1:]
	}
	return ""
}

func reverse(s string) string {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r)
}

func number(args []string, i, def int) int {
	if i >= len(args) {
		return def
	}
	n, _ := strconv.Atoi(args[i]) // parseFilter checked it
	return n
}

func hexlify(v filterValue, args []string) (filterValue, error) {
	out := hex.EncodeToString([]byte(v.text))
	if width := number(args, 0, 0); width > 0 {
		if len(out) > width {
			out = out[:width]
		}
		out = strings.Repeat("0", width-len(out)) + out
	}
	return filterValue{text: out}, nil
}

// hexNumber writes a decimal number in hexadecimal, with zeroes up to a width.
func hexNumber(v filterValue, args []string) (filterValue, error) {
	n, err := strconv.ParseUint(v.text, 10, 64)
	if err != nil {
		return v, fmt.Errorf("%q is not a number", v.text)
	}
	return filterValue{text: fmt.Sprintf("%0*x", max(number(args, 0, 0), 0), n)}, nil
}

// substr counts bytes; a negative offset counts from the end, a negative
// length leaves that many bytes away at the end.
func substr(v filterValue, args []string) (filterValue, error) {
	text := v.text
	from := number(args, 0, 0)
	if from < 0 {
		from = max(0, len(text)+from)
	}
	from = min(from, len(text))
	count := number(args, 1, len(text))
	if count < 0 {
		count = len(text) - from + count
	}
	count = max(0, min(count, len(text)-from))
	return filterValue{text: text[from : from+count], binary: v.binary}, nil
}

func truncate(v filterValue, args []string) (filterValue, error) {
	n := max(0, min(number(args, 0, 0), len(v.text)))
	return filterValue{text: v.text[:n], binary: v.binary}, nil
}

func defaultTo(v filterValue, args []string) (filterValue, error) {
	if v.text == "" {
		return filterValue{text: args[0]}, nil
	}
	return v, nil
}

func padding(v filterValue, args []string) string {
	with := " "
	if len(args) > 1 && args[1] != "" {
		with = args[1][:1]
	}
	return strings.Repeat(with, max(0, number(args, 0, 0)-len(v.text)))
}

func fill(v filterValue, args []string) (filterValue, error) {
	return filterValue{text: padding(v, args) + v.text}, nil
}

func fillRight(v filterValue, args []string) (filterValue, error) {
	return filterValue{text: v.text + padding(v, args)}, nil
}
