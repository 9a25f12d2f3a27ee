package prepop3

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

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
		a := prelogintest.Drive(start(given).(*Machine), in, func(left int) int { return left })
		b := prelogintest.Drive(start(given).(*Machine), in, func(left int) int { return 1 + rng.IntN(min(left, 7)) })
		if a != b {
			t.Fatalf("whole:\n%q\npieces:\n%q", a, b)
		}
	})
}
