// Package render writes the commented configuration files and the documents
// of the settings from their declarations.
//
// The generator (internal/settings/gen), rookeryctl's demo and the test that
// compares the shipped files use it. It is pure text: it writes no file.
package render

import (
	"fmt"
	"slices"
	"strings"

	"rookery/internal/settings"
)

// Custom is how a configuration differs from the shipped one.
type Custom struct {
	// Values has settings by name, in the form that they have in the file:
	// `true`, `"2 mins"`. They are written without the comment sign.
	Values map[string]string
	// Tables has the whole content below the comments of a file with tables,
	// by the file's name without ".toml".
	Tables map[string]string
}

// MainFile is the name of the file that is not in conf.d, without ".toml".
const MainFile = "rookery"

// titles says what each file is about, in the order of reading.
func titles() [][2]string {
	return [][2]string{
		{MainFile, "Rookery's configuration"},
		{"10-auth", "Authentication"},
		{"10-limits", "Processes and limits after login"},
		{"10-logging", "Logs"},
		{"10-login", "Before login: connections, PROXY headers"},
		{"10-mail", "Where mail lies and how it is kept"},
		{"10-master", "Where clients connect"},
		{"10-ssl", "TLS"},
		{"11-auth-databases", "Databases of users and passwords"},
		{"12-ssl-names", "Certificates for further host names"},
		{"15-mailboxes", "The folder tree, and folders with a special use"},
		{"15-quota", "What users may keep, and for how long expunged mail can come back"},
		{"16-quota-warnings", "What users are told before their quota is used up"},
		{"20-imap", "IMAP"},
		{"20-pop3", "POP3"},
	}
}

// Names lists the files of conf.d without ".toml", in the order of reading.
func Names() []string {
	var out []string
	for _, t := range titles()[1:] {
		out = append(out, t[0])
	}
	return out
}

func title(name string) string {
	for _, t := range titles() {
		if t[0] == name {
			return t[1]
		}
	}
	return name
}

// File is the whole text of one file: rookery.toml for MainFile, else that of
// conf.d.
func File(name string, c Custom) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", title(name))
	if name == MainFile {
		b.WriteString(mainIntro)
	}
	for _, d := range settings.All() {
		if d.File == name {
			b.WriteString("\n")
			writeSetting(&b, d, c.Values)
		}
	}
	var tables []*settings.Table
	for _, t := range settings.Tables() {
		if t.File == name {
			tables = append(tables, t)
		}
	}
	for _, t := range tables {
		b.WriteString("\n")
		writeTable(&b, t)
	}
	if len(tables) > 0 {
		body, custom := c.Tables[name]
		if !custom {
			body = shipped()[name]
		}
		b.WriteString("\n" + body)
	}
	return b.String()
}

const mainIntro = `#
# This file is read first, then conf.d/*.toml beside it in byte order of their
# names. A later value wins; a value twice in one file is an error. A later
# table ([[listener]], [[passdb]], …) of the same name replaces the earlier one,
# and "enabled = false" in it takes the earlier one away.
#
# Put your own changes into conf.d/99-local.toml, which is never shipped: then
# an upgrade replaces the other files without a question. Write settings above
# the first [[table]] of a file: what stands below belongs to the table.
#
# "rookeryctl config check" tells what is wrong, with file and line;
# "rookeryctl config -n" shows what is not default. A line that begins with
# "#name =" shows a default.
`

func writeSetting(b *strings.Builder, d *settings.Decl, values map[string]string) {
	comment(b, "", d.Text)
	if d.Danger != "" {
		comment(b, "WARNING: ", d.Danger)
	}
	comment(b, "", strings.ToUpper(d.TypeText()[:1])+d.TypeText()[1:]+unitText(d)+".")
	fmt.Fprintf(b, "#%s = %s\n", d.Name, d.Show(d.Default))
	if v, ok := values[d.Name]; ok {
		fmt.Fprintf(b, "%s = %s\n", d.Name, v)
	}
}

func unitText(d *settings.Decl) string {
	if d.Unit == "" {
		return ""
	}
	return " (" + d.Unit + ")"
}

func writeTable(b *strings.Builder, t *settings.Table) {
	comment(b, "[["+t.Name+"]]: ", t.Text)
	for _, d := range t.Fields {
		must := ""
		if d.Required {
			must = " Must be there."
		}
		comment(b, "  "+d.Name+": ", d.Text+must+" "+sentence(d))
	}
	if t.Sub != nil {
		writeTable(b, t.Sub)
	}
}

// sentence is the type and the default of a field.
func sentence(d *settings.Decl) string {
	text := strings.ToUpper(d.TypeText()[:1]) + d.TypeText()[1:]
	if !d.Required {
		text += "; absent: " + d.Show(d.Default)
	}
	return text + "."
}

// comment wraps text to lines of at most 96 characters.
func comment(b *strings.Builder, head, text string) {
	line := "# " + head
	indent := "# "
	if strings.HasPrefix(head, "  ") {
		indent = "#     "
	}
	empty := false
	for _, word := range strings.Fields(text) {
		if len([]rune(line))+len([]rune(word)) > 96 {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line, empty = indent, true
		}
		line += word + " "
		empty = false
	}
	if !empty {
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// shipped are the tables of the shipped files.
func shipped() map[string]string {
	var listeners strings.Builder
	for _, name := range []string{"imap", "imaps", "pop3", "pop3s"} {
		fmt.Fprintf(&listeners, "[[listener]]\nname = %q\nprotocol = %q\naddress = [\"*\", \"::\"]\nport = %d\n\n", name, name, settings.Ports()[name])
	}
	var boxes strings.Builder
	boxes.WriteString("[[namespace]]\nname = \"inbox\"\ninbox = true\n")
	for _, name := range []string{"Drafts", "Junk", "Sent", "Trash"} {
		fmt.Fprintf(&boxes, "\n[[namespace.mailbox]]\nname = %q\nauto = \"subscribe\"\nspecial_use = [\"\\\\%s\"]\n", name, name)
		if name == "Trash" { // clients that copy to Trash before they expunge must be able to make room
			boxes.WriteString("quota_storage_percentage = 110\n")
		}
	}
	boxes.WriteString(`
# What other users share, below their names, and the folders of one user for all
# (docs/acl.md, docs/namespaces.md).
#[[namespace]]
#name = "others"
#type = "shared"
#prefix = "Other Users."
#list = "children"
#
#[[namespace]]
#name = "public"
#type = "public"
#owner = "public@example.org"
#prefix = "Public."
#list = "children"
`)
	return map[string]string{
		"10-master": strings.TrimSuffix(listeners.String(), "\n"),
		"11-auth-databases": `# The users of this system, with their passwords of /etc/shadow.
[[passdb]]
name = "system"
driver = "shadow"

[[userdb]]
name = "system"
driver = "passwd"

# Virtual users in a file, all with one user id. Make the file with lines such as
#   ann@example.org:{SHA512-CRYPT}$6$…
# ("rookeryctl pw" makes the hash), chmod 0640, chgrp rookery-auth.
#[[passdb]]
#name = "virtual"
#driver = "passwd-file"
#passwd_file_path = "/etc/rookery/users"
#
#[[userdb]]
#name = "virtual"
#driver = "static"
#fields = { uid = "vmail", gid = "vmail", home = "/srv/mail/%{user | domain}/%{user | username}" }
`,
		"12-ssl-names": `#[[ssl_server_name]]
#name = "mail.example.org"
#cert_file = "/etc/letsencrypt/live/mail.example.org/fullchain.pem"
#key_file = "/etc/letsencrypt/live/mail.example.org/privkey.pem"
`,
		"15-mailboxes": boxes.String(),
		"16-quota-warnings": `[[quota_warning]]
name = "80 per cent"
percentage = 80

[[quota_warning]]
name = "95 per cent"
percentage = 95

[[quota_warning]]
name = "95 per cent of messages"
resource = "message"
percentage = 95
`,
	}
}

// byFile groups the settings by file, in the order of reading.
func byFile() [][]*settings.Decl {
	var out [][]*settings.Decl
	for _, t := range titles() {
		group := slices.DeleteFunc(settings.All(), func(d *settings.Decl) bool { return d.File != t[0] })
		out = append(out, group)
	}
	return out
}
