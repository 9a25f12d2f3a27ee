package settings

import (
	"strings"
	"testing"
)

var testVars = Vars{"user": "Ann@Example.org", "home": "/home/ann", "uid": "305", "empty": "", "evil": "../bob", "pct": "%{user}"}
var testNames = []string{"user", "home", "uid", "empty", "evil", "pct"}

func TestTemplateExpand(t *testing.T) {
	for source, want := range map[string]string{
		"plain":                               "plain",
		"%{user}":                             "Ann@Example.org",
		"a%{user | lower}b":                   "aann@example.orgb",
		"%{ user|upper }":                     "ANN@EXAMPLE.ORG",
		"%{user | username}/%{user | domain}": "Ann/Example.org",
		"%{empty | domain}":                   "",
		"%{empty | default('no}|ne')}":        "no}|ne",
		"%{uid | hex(8)}":                     "00000131",
		"%{uid | hex}":                        "131",
		"%{user | substr(-3)}":                "org",
		"%{user | substr(0, -4)}":             "Ann@Example",
		"%{user | truncate(3)}":               "Ann",
		"%{user | reverse}":                   "gro.elpmaxE@nnA",
		"%{uid | lfill(5, '0')}":              "00305",
		"%{uid | rfill(5)}|":                  "305  |",
		"%%{user}":                            "%{user}",
		"100% sure":                           "100% sure",
		"%{pct}":                              "%{user}", // expanded once, never twice
		"%{user | base64}":                    "QW5uQEV4YW1wbGUub3Jn",
	} {
		tm, err := ParseTemplate(source, testNames)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		got, err := tm.Expand(testVars)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", source, got, err, want)
		}
	}
}

// RFC 1321 §A.5 has the sum of "abc".
func TestTemplateSums(t *testing.T) {
	for source, want := range map[string]string{
		"%{user | md5}":                          "900150983cd24fb0d6963f7d28e17f72",
		"%{user | md5 | hexlify | substr(0, 2)}": "90",
		"%{user | md5 | substr(0, 2)}":           "9001",
		"%{user | sha1 | hexlify(6)}":            "a9993e",
	} {
		tm, err := ParseTemplate(source, testNames)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tm.Expand(Vars{"user": "abc"}); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", source, got, err, want)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	for source, want := range map[string]string{
		"%{user":                   "closing }",
		"%{}":                      "names no variable",
		"%{usr}":                   "did you mean %{user}",
		"%{user | lowr}":           `did you mean "lower"`,
		"%{user | zzzzzz}":         "known are base64",
		"%{user | substr}":         "arguments",
		"%{user | substr(a)}":      "whole number",
		"%{user | substr(1}":       "closing )",
		"/srv/%u":                  "write %{user}",
		"/srv/%n":                  "write %{user | username}",
		"/srv/%Ld":                 "write %{user | domain | lower}",
		"/srv/%1u/%u":              "with a filter",
		"%{rip}":                   "not known",
		"%{username}":              "write %{user | username}",
		"a\x00b":                   "NUL",
		strings.Repeat("x", 1<<13): "longer than",
	} {
		if _, err := ParseTemplate(source, testNames); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", source, err, want)
		}
	}
	if tm, _ := ParseTemplate("%{user}", testNames); tm.Uses("home") {
		t.Error("home is not used")
	} else if _, err := tm.Expand(Vars{}); err == nil {
		t.Error("a variable without a value was expanded")
	}
}

func TestTemplatePath(t *testing.T) {
	for source, want := range map[string]string{
		"~/Maildir":            "/home/ann/Maildir",
		"%{home}/Maildir/":     "/home/ann/Maildir",
		"/srv/%{user | lower}": "/srv/ann@example.org",
		"":                     "",
		"/srv/%{evil}":         "!may not stand in a path",
		"/srv/%{empty}/../x":   "!holds \"..\"",
		"mail":                 "!not absolute",
		"%{user}":              "!not absolute",
	} {
		tm, err := ParseTemplate(source, testNames)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tm.ExpandPath(testVars)
		if bad, isBad := strings.CutPrefix(want, "!"); isBad {
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("%s: %q, %v; want %q", source, got, err, bad)
			}
		} else if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", source, got, err, want)
		}
	}
	tm, _ := ParseTemplate("~/x", testNames)
	if got, err := tm.ExpandPath(Vars{"home": ""}); err == nil {
		t.Errorf("a user without a home got %q", got)
	}
	tm, _ = ParseTemplate("/srv/%{user}", testNames)
	for _, user := range []string{"..", ".", "a/b", "/etc"} {
		if got, err := tm.ExpandPath(Vars{"user": user}); err == nil {
			t.Errorf("%q leads to %q", user, got)
		}
	}
}

func TestLogElements(t *testing.T) {
	all := LoginLogFormatElements.Get(New())
	vars := Vars{"user": "", "method": "", "mechanism": "", "remote_ip": "192.0.2.7", "local_ip": "192.0.2.1", "mail_pid": "", "secured": "", "session": "abc"}
	var kept []string
	for _, e := range all.Elements() {
		text, keep, err := e.ExpandElement(vars)
		if err != nil {
			t.Fatal(err)
		}
		if keep {
			kept = append(kept, text)
		}
	}
	if got, want := strings.Join(kept, ", "), "user=<>, rip=192.0.2.7, lip=192.0.2.1, session=<abc>"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	tm, _ := ParseTemplate("a=%{user | default('x y')} b", testNames)
	if n := len(tm.Elements()); n != 2 {
		t.Errorf("%d elements, want 2: a space inside a variable does not cut", n)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"%{user | lower}", "~/x", "%%{a}", "%{user | default('}')}", "%08Xu", "%{uid | hex(8)}", "%{user | lfill(4096) | lfill(4096)}"} {
		f.Add(s, "ann@example.org")
	}
	f.Fuzz(func(t *testing.T, source, user string) {
		tm, err := ParseTemplate(source, testNames)
		if err != nil {
			return
		}
		vars := Vars{"user": user, "home": "/home/ann", "uid": "1", "empty": "", "evil": user, "pct": user}
		if out, err := tm.Expand(vars); err == nil && len(out) > maxResult+maxTemplate {
			t.Fatal("the result has no bound")
		}
		if p, err := tm.ExpandPath(vars); err == nil && p != "" && (p[0] != '/' || strings.Contains(p+"/", "/../") || strings.Contains(p, "\x00")) {
			t.Fatalf("%q", p)
		}
	})
}
