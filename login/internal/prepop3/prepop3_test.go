package prepop3

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/login/internal/prelogin"
	"rookery/login/internal/prelogin/prelogintest"
)

func start(given []string) prelogin.Machine {
	cfg := Config{Greeting: "Rookery ready.", Mechanisms: prelogintest.Mechanisms(given), Facts: prelogintest.Facts(given), BadCommands: 3,
		Timestamp: "<ab.1.1700000000@mail.example.test>", Expire: -1, Implementation: "Rookery"}
	if slices.Contains(given, "delay") {
		cfg.LoginDelay, cfg.Expire, cfg.Implementation = 60, 30, ""
	}
	return New(cfg)
}

func TestTranscripts(t *testing.T) { prelogintest.Run(t, start) }

// drive feeds in and answers what the machine asks for by a fixed rule.
func drive(m *Machine, in []byte, portion func(left int) int) string {
	var out bytes.Buffer
	handle := func(effects []prelogin.Effect) {
		for len(effects) > 0 {
			var next []prelogin.Effect
			for _, e := range effects {
				switch e := e.(type) {
				case prelogin.Send:
					out.Write(e)
				case prelogin.BeginAuth:
					if e.HasInitial {
						next = append(next, m.Refused(errkind.AuthFailed, "", "")...)
					} else {
						next = append(next, m.Challenge([]byte("hi"))...)
					}
				case prelogin.ContinueAuth:
					next = append(next, m.Refused(errkind.Invalid, "", "")...)
				case prelogin.StartTLS:
					out.WriteString("TLS\n")
				}
			}
			effects = next
		}
	}
	handle(m.Greet())
	for len(in) > 0 {
		n := portion(len(in))
		handle(m.Feed(in[:n]))
		in = in[n:]
	}
	return out.String()
}

func FuzzMachine(f *testing.F) {
	for _, seed := range []string{
		"USER a\r\nPASS b c\r\nSTAT\r\n", "AUTH\r\nAUTH PLAIN\r\nAHUAcA==\r\n", "AUTH CRAM-MD5\r\n*\r\nQUIT\r\n", "AUTH PLAIN =\r\n",
		"APOP a 0123456789abcdef0123456789ABCDEF\r\n", "UTF8\r\nLANG\r\nLANG en\r\nSTLS\r\nNOOP\r\n", strings.Repeat("(", 9000) + "\r\n", "\x00\r\n\r\n\n",
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		given := []string{"secured", "starttls"}
		a := drive(start(given).(*Machine), in, func(left int) int { return left })
		b := drive(start(given).(*Machine), in, func(left int) int { return 1 + rng.IntN(min(left, 7)) })
		if a != b {
			t.Fatalf("whole:\n%q\npieces:\n%q", a, b)
		}
	})
}
