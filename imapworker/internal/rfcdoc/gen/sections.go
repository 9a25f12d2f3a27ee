package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// rfcs are in the order of the page: both revisions, then the extensions.
var rfcs = []int{9051, 3501, 2177, 2342, 2971, 3348, 3502, 3516, 3691, 4314, 4315, 4466, 4469, 4731, 4959, 4978, 5032, 5161, 5182, 5255, 5256, 5258, 5267,
	5464, 5465, 5466, 5530, 5819, 5957, 6154, 6851, 6855, 7162, 7377, 7888, 7889, 8437, 8438, 8440, 8457, 8474, 8508, 8514, 8970, 9208, 9394}

var (
	heading = regexp.MustCompile(`^(?:([0-9]+(?:\.[0-9]+)*)\.?|([A-Z](?:\.[0-9]+)+)\.?|Appendix ([A-Z])[.:]?) +((?:[0-9]+-)?[A-Za-z"*\\].*)$`)
	demand  = regexp.MustCompile(`\b(MUST|SHALL|REQUIRED)\b`)
	furnish = regexp.MustCompile(`^RFC \d+ |\[Page \d+\]$`) // a page's head and foot
	dotted  = regexp.MustCompile(`\.\.|\. \. `)             // a line of a table of contents
)

func sections(folder string) error {
	fmt.Println("# RFC, section, demands, title: made by gen of the RFCs' texts; do not edit.")
	for _, n := range rfcs {
		text, err := os.ReadFile(filepath.Join(folder, fmt.Sprintf("rfc%d.txt", n)))
		if err != nil {
			return err
		}
		for _, s := range sectionsOf(string(text)) {
			fmt.Printf("%d %s %d %s\n", n, s.name, s.demands, s.title)
		}
	}
	return nil
}

type section struct {
	name, title string
	demands     int
}

// sectionsOf finds the sections of an RFC's text and counts their demands. The paragraph
// that explains the words counts for nothing, nor does the index.
func sectionsOf(text string) (all []section) {
	paragraph := ""
	end := func() {
		if len(all) > 0 && !strings.Contains(paragraph, "ey words") && !strings.Contains(paragraph, "specification requirement term") {
			all[len(all)-1].demands += len(demand.FindAllString(paragraph, -1))
		}
		paragraph = ""
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \r\n\f")
		if furnish.MatchString(line) {
			continue
		}
		if m := heading.FindStringSubmatch(line); m != nil && !dotted.MatchString(line) {
			end()
			all = append(all, section{name: m[1] + m[2] + m[3], title: title(m[4])})
			continue
		}
		if strings.TrimSpace(line) == "" {
			end()
			continue
		}
		paragraph += line + " "
	}
	end()
	return all
}

// title is a heading's text as a cell of a table.
func title(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
}
