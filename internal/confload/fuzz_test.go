package confload

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/BurntSushi/toml"
)

// Any file gives a Result: no panic, and what is accepted is TOML with the
// statements that scan found.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{tables, "auth_verbose = yes\n", "a = \"\"\"x\n\"\"\"\"\n", "x = [ 1, # ]\n 2 ]\n[[y]]\n", "a = '\\'\nb=1",
		"[[namespace]]\nname=\"a\"\n[[namespace.mailbox]]\nname=\"b\"\n", "\"a=b\" = 1", "log_debug = [\n\"user=a\",\n]", "imap_id_send = {a = \"b\"}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fsys := fstest.MapFS{
			"etc/rookery/rookery.toml":     {Data: []byte("ssl = \"no\"\n"), Mode: 0o644},
			"etc/rookery/conf.d/50-a.toml": {Data: []byte(text), Mode: 0o644},
		}
		r := Load(fsys, mainFile)
		for _, d := range r.Diags {
			if d.Text == "" || d.File == "" || d.Line < 0 || d.Line > strings.Count(text, "\n")+2 {
				t.Fatalf("%+v", d)
			}
		}
		for _, d := range r.Diags {
			if d.File == "/etc/rookery/conf.d/50-a.toml" && !d.Warning {
				return
			}
		}
		var whole map[string]any
		md, err := toml.Decode(strings.TrimPrefix(text, "\ufeff"), &whole)
		if err != nil {
			t.Fatalf("accepted, but no TOML: %v", err)
		}
		keys := 0
		for _, k := range md.Keys() {
			if md.Type(k...) != "ArrayHash" && md.Type(k...) != "Hash" && !strings.Contains(k.String(), "fields.") && !strings.Contains(k.String(), "imap_id_send.") {
				keys++
			}
		}
		found := 0
		for _, st := range scan(strings.TrimPrefix(text, "\ufeff")) {
			if st.header == "" && !strings.HasPrefix(st.value, "{") {
				found++
			}
		}
		if keys != found {
			t.Fatalf("TOML has %d values, scan found %d", keys, found)
		}
	})
}
