package render

import (
	"fmt"
	"strings"

	"rookery/internal/settings"
)

// fileName is the path of a file below /etc/rookery.
func fileName(name string) string {
	if name == MainFile {
		return "rookery.toml"
	}
	return "conf.d/" + name + ".toml"
}

// Markdown is docs/SETTINGS.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(markdownIntro)
	for i, group := range byFile() {
		name := titles()[i][0]
		fmt.Fprintf(&b, "\n## %s (`%s`)\n", title(name), fileName(name))
		for _, d := range group {
			markdownSetting(&b, d)
		}
		for _, t := range settings.Tables() {
			if t.File == name {
				markdownTable(&b, t)
			}
		}
	}
	b.WriteString("\n## Variables\n\n" + variablesText)
	return b.String()
}

const markdownIntro = `# Settings

Printed by ` + "`make generate`" + ` from the declarations in ` + "`internal/settings`" + `; do not edit.

` + "`rookery.toml`" + ` is read first, then ` + "`conf.d/*.toml`" + ` beside it in byte order of their names. A later value
wins; a value twice in one file is an error. Repeated things are arrays of tables, each with a unique ` + "`name`" + `:
a later table of the same name replaces the earlier one, ` + "`enabled = false`" + ` takes it away.
Names and values are Dovecot 2.4's where the meaning is the same. ` + "`rookeryctl config check`" + ` tells what is wrong
with file and line; ` + "`rookeryctl config`" + ` shows where each value comes from.

Times are strings with a unit: ms, secs, mins, hours, days, weeks. Sizes are numbers of bytes or strings with a
unit: B, KiB, MiB, GiB, TiB. Booleans are true or false.

After a reload, new sessions have the new values and open ones keep theirs. "Received by" says which processes are
told a setting: a reload starts new login processes only if it changes one that login receives.
`

const variablesText = `Dovecot 2.4's: ` + "`%{user}`, `%{user | username}`, `%{user | domain | lower}`" + `. Each setting says which variables it
knows. Values are put in once and never looked at again. In a path, no variable but ` + "`home`" + ` may bring a ` + "`/`" + ` or be
` + "`..`" + `. ` + "`%%{`" + ` stands for the characters ` + "`%{`" + `.

Filters: ` + "`lower`, `upper`, `username`, `domain`, `domain_first`, `domain_last`, `reverse`, `md5`, `sha1`, `sha256`, `sha384`," + `
` + "`sha512`, `base64`, `hexlify(width)`, `hex(width)`, `substr(offset, length)`, `truncate(length)`, `default('text')`," + `
` + "`lfill(width, 'x')`, `rfill(width, 'x')`" + `. A sum that no filter writes as text becomes hexadecimal digits.
`

func markdownSetting(b *strings.Builder, d *settings.Decl) {
	fmt.Fprintf(b, "\n### `%s`\n\n", d.Name)
	fmt.Fprintf(b, "%s\n\n", d.Text)
	if d.Danger != "" {
		fmt.Fprintf(b, "**Danger:** %s\n\n", d.Danger)
	}
	fmt.Fprintf(b, "| type | default | since | received by |\n|---|---|---|---|\n| %s%s | `%s` | %s | %s |\n",
		escapeCell(d.TypeText()), escapeCell(unitText(d)), escapeCell(d.Show(d.Default)), d.Since, d.Roles)
	if len(d.Vars) > 0 {
		fmt.Fprintf(b, "\nVariables: `%%{%s}`.\n", strings.Join(d.Vars, "}`, `%{"))
	}
	if d.PerUser {
		b.WriteString("\nA userdb may set it for one user.\n")
	}
	if d.Secret {
		b.WriteString("\nNever shown by `rookeryctl config`.\n")
	}
}

func escapeCell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func markdownTable(b *strings.Builder, t *settings.Table) {
	fmt.Fprintf(b, "\n### `[[%s]]`\n\n%s\n\n| field | type | absent | meaning |\n|---|---|---|---|\n", t.Name, t.Text)
	for _, d := range t.Fields {
		def := "`" + escapeCell(d.Show(d.Default)) + "`"
		if d.Required {
			def = "must be there"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", d.Name, escapeCell(d.TypeText()), def, escapeCell(d.Text))
	}
	if t.Sub != nil {
		markdownTable(b, t.Sub)
	}
}

// Man is the manual page rookery.toml(5).
func Man() string {
	var b strings.Builder
	b.WriteString(".TH ROOKERY.TOML 5 \"\" \"Rookery\" \"File formats\"\n.nh\n.ad l\n.SH NAME\nrookery.toml \\- settings of the mail server Rookery\n")
	b.WriteString(".SH SYNOPSIS\n/etc/rookery/rookery.toml\n.br\n/etc/rookery/conf.d/*.toml\n.SH DESCRIPTION\n")
	for _, line := range strings.Split(markdownIntro, "\n")[4:] {
		b.WriteString(Roff(strings.ReplaceAll(line, "`", "")) + "\n")
	}
	for i, group := range byFile() {
		name := titles()[i][0]
		fmt.Fprintf(&b, ".SH %s\nFile %s.\n", Roff(strings.ToUpper(title(name))), Roff(fileName(name)))
		for _, d := range group {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", Roff(d.Name), Roff(d.Text))
			if d.Danger != "" {
				fmt.Fprintf(&b, ".br\n.B Danger:\n%s\n", Roff(d.Danger))
			}
			fmt.Fprintf(&b, ".br\nType: %s%s. Default: %s\n", Roff(d.TypeText()), Roff(unitText(d)), Roff(d.Show(d.Default)))
		}
		for _, t := range settings.Tables() {
			if t.File == name {
				manTable(&b, t)
			}
		}
	}
	b.WriteString(".SH VARIABLES\n" + Roff(strings.ReplaceAll(variablesText, "`", "")) + ".SH SEE ALSO\nrookery(8), rookeryctl(8)\n")
	return b.String()
}

func manTable(b *strings.Builder, t *settings.Table) {
	fmt.Fprintf(b, ".SS [[%s]]\n%s\n", Roff(t.Name), Roff(t.Text))
	for _, d := range t.Fields {
		fmt.Fprintf(b, ".TP\n.B %s\n%s %s\n", Roff(d.Name), Roff(d.Text), Roff(sentence(d)))
	}
	if t.Sub != nil {
		manTable(b, t.Sub)
	}
}

// Roff escapes text for troff: backslashes, hyphens, and control characters at
// the beginning of lines.
func Roff(s string) string {
	s = strings.ReplaceAll(s, `\`, `\e`)
	s = strings.ReplaceAll(s, "-", `\-`)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
