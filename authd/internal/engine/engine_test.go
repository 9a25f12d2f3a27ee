package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rookery/authd/internal/passhash"
	"rookery/internal/settings"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func stampOf(prefix string, n uint64, at time.Time) string {
	return fmt.Sprintf("<%s.%d.%d@h>", prefix, n, at.Unix())
}

func TestAPOPStamps(t *testing.T) {
	a := &apopStamps{prefix: "p"}
	for _, c := range []struct {
		stamp, session string
		want           bool
	}{
		{stampOf("p", 1, start), "s1", true},
		{stampOf("p", 1, start), "s1", true},
		{stampOf("p", 1, start), "s2", false},
		{stampOf("q", 2, start), "s1", false},
		{stampOf("p", 2, start.Add(-2*time.Hour)), "s1", false},
		{stampOf("p", 2, start.Add(2*time.Hour)), "s1", false},
		{stampOf("p", 2, start), "", false},
		{"<p.x.1@h>", "s1", false},
		{"<p.3.@h>", "s1", false},
		{"<p.3>", "s1", false},
		{strings.TrimSuffix(stampOf("p", 3, start), ">"), "s1", false},
		{stampOf("p", 1<<63, start), "s1", false}, // would make all others old
	} {
		if got := a.check(c.stamp, c.session, start); got != c.want {
			t.Errorf("%s of %q: %v", c.stamp, c.session, got)
		}
	}
	a.spent(stampOf("p", 1, start), start)
	if a.check(stampOf("p", 1, start), "s1", start) {
		t.Error("a timestamp that let somebody in is good again")
	}
	for n := uint64(2); n < 5*apopWindow; n++ {
		if !a.check(stampOf("p", n, start), "s", start) {
			t.Fatalf("number %d is refused", n)
		}
	}
	if len(a.used) > 2*apopWindow {
		t.Errorf("%d timestamps are remembered", len(a.used))
	}
	if a.check(stampOf("p", 5, start), "s", start) {
		t.Error("a timestamp that may have been forgotten is taken")
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{{"secret", 0, "secret"}, {"secret", 3, "sec"}, {"sécret", 2, "sé"}, {"ab", 5, "ab"}, {"", 1, ""},
		{strings.Repeat("x", 2000), 0, strings.Repeat("x", 1024)}} {
		if got := cut(c.in, c.n); got != c.want {
			t.Errorf("cut(%.10q, %d) = %.10q", c.in, c.n, got)
		}
	}
}

func TestLogName(t *testing.T) {
	for in, want := range map[string]string{"": "?", "ann@example.test": "ann@example.test", "a b": "a%20b", "a,b)": "a%2Cb%29", "x\ny": "x%0Ay",
		"<s>": "%3Cs%3E", "50%": "50%25", "münch": "münch", strings.Repeat("é", 40): strings.Repeat("é", 32) + "..."} {
		if got := logName(in); got != want {
			t.Errorf("logName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestUserName(t *testing.T) {
	format := func(s string) settings.Template {
		v, err := settings.ParseTemplate(s, []string{"user"})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@"
	for _, c := range []struct {
		cfg      Config
		in, want string
	}{
		{Config{}, "Ann", "Ann"},
		{Config{UsernameFormat: format("%{user | lower}")}, "Ann@Example.TEST", "ann@example.test"},
		{Config{UsernameFormat: format("%{user | username}")}, "ann@d", "ann"},
		{Config{DefaultDomain: "d"}, "ann", "ann@d"},
		{Config{DefaultDomain: "d"}, "ann@e", "ann@e"},
		{Config{DefaultDomain: "d", UsernameFormat: format("%{user | lower}"), UsernameChars: chars}, "ANN", "ann@d"},
		{Config{UsernameChars: chars}, "a/b", "error: Username character disallowed by auth_username_chars: 0x2f (username: a/b)"},
		{Config{}, "I\u00adX", "IX"}, // SASLprep
		{Config{}, "a\u0007", "error: user name contains characters that RFC 4013 prohibits"},
		{Config{UsernameFormat: format("%{user | domain}")}, "ann", "error: user name has 0 bytes after auth_username_format, 1 to 255 may be"},
		{Config{}, "@d", "error: user name with an empty part or one of dots alone, which in a path would name the folder of all users"},
		{Config{}, "ann@", "error: user name with an empty part or one of dots alone, which in a path would name the folder of all users"},
		{Config{}, ".@d", "error: user name with an empty part or one of dots alone, which in a path would name the folder of all users"},
		{Config{}, "ann@..", "error: user name with an empty part or one of dots alone, which in a path would name the folder of all users"},
		{Config{}, ".", "error: user name with an empty part or one of dots alone, which in a path would name the folder of all users"},
		{Config{DefaultDomain: strings.Repeat("d", 250)}, "annnnn", "error: user name has 257 bytes after auth_username_format, 1 to 255 may be"},
	} {
		got, err := c.cfg.userName(c.in)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestDummy(t *testing.T) {
	var d dummy
	if got := d.pick("SHA256-CRYPT"); got.Name() != "SHA256-CRYPT" {
		t.Errorf("nothing met: %s", got.Name())
	}
	see := func(stored string, times int) {
		s, err := passhash.Parse(stored, "CRYPT", false)
		if err != nil {
			t.Fatal(err)
		}
		for range times {
			d.saw(s)
		}
	}
	see("{PLAIN}x", 2)
	see("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", 3)
	if got := d.pick("CRYPT"); got.Name() != "SHA" {
		t.Errorf("met most: %s", got.Name())
	}
	if d.iterations() != 4096 {
		t.Error(d.iterations())
	}
	d.sawSCRAM(passhash.SCRAM{Iterations: 9999})
	if d.iterations() != 9999 {
		t.Error(d.iterations())
	}
}

func TestInternalDelay(t *testing.T) {
	for range 1000 {
		if d := internalDelay(2 * time.Second); d < 2*time.Second || d > 3*time.Second {
			t.Fatal(d)
		}
	}
	if internalDelay(0) != 0 {
		t.Error("a delay of 0 waits")
	}
}
