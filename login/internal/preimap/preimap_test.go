package preimap

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rookery/login/internal/prelogin"
	"rookery/login/internal/prelogin/prelogintest"
)

func start(given []string) prelogin.Machine {
	cfg := Config{Greeting: "Rookery ready.", Mechanisms: prelogintest.Mechanisms(given), Facts: prelogintest.Facts(given), BadCommands: 3}
	if slices.Contains(given, "id") {
		cfg.ID = []string{"name", "Rookery", "support", "a\"b"}
	}
	return New(cfg)
}

func TestTranscripts(t *testing.T) { prelogintest.Run(t, start) }

func FuzzMachine(f *testing.F) {
	for _, seed := range []string{
		"a LOGIN u p\r\nb NOOP\r\n", "a AUTHENTICATE PLAIN\r\nAHUAcA==\r\n", "a AUTHENTICATE CRAM-MD5\r\n*\r\nb LOGOUT\r\n",
		"a LOGIN {1}\r\nu {1+}\r\np\r\n", "a ID (\"x\" NIL)\r\na STARTTLS\r\nb NOOP\r\n", "a LOGIN {99999+}\r\n", strings.Repeat("(", 9000) + "\r\n",
		"a CAPABILITY\r\n\r\n\x00\r\n",
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		given := []string{"secured", "starttls"}
		a := prelogintest.Drive(start(given).(*Machine), in, func(left int) int { return left })
		b := prelogintest.Drive(start(given).(*Machine), in, func(left int) int { return 1 + rng.IntN(min(left, 7)) })
		if a != b {
			t.Fatalf("whole:\n%q\npieces:\n%q", a, b)
		}
	})
}

// A megabyte of parentheses, endless literals and aborted authentications
// leave nothing behind.
func TestFloodsHoldNothing(t *testing.T) {
	for name, in := range map[string]string{
		"parentheses":    strings.Repeat("(", 1<<16),
		"literals":       "a LOGIN {900}\r\n",
		"empty literals": "a LOGIN {0+}\r\n",
		"aborted":        "a AUTHENTICATE PLAIN\r\n*\r\na NOOP\r\n",
	} {
		m := New(Config{Greeting: "x", Mechanisms: prelogintest.Mechanisms(nil), Facts: prelogin.Facts{Secured: true}, BadCommands: 1 << 30})
		var rounds, sent int
		m.Greet()
		for rounds = range 2000 {
			for _, e := range m.Feed([]byte(in)) {
				switch e := e.(type) {
				case prelogin.Send:
					sent += len(e)
				case prelogin.BeginAuth:
					m.Challenge(nil)
					m.Run()
				}
			}
			if m.State == prelogin.AtAuthd {
				m.Challenge(nil)
			}
		}
		if m.Held() > 1<<17 || rounds != 1999 {
			t.Errorf("%s: %d bytes are held after %d rounds", name, m.Held(), rounds)
		}
	}
}
