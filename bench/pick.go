package main

import (
	"fmt"
	"strings"
)

// pick gives the rows to measure: all, the one of that name, those whose name
// begins so, or none after it has listed them.
func pick(o options) (logins []row, stores []storeRow, err error) {
	if o.row == "list" {
		for _, r := range loginRows() {
			fmt.Printf("%-26s %s\n", r.name, r.title)
		}
		for _, r := range storeRows() {
			fmt.Printf("%-26s %s\n", r.name, r.title)
		}
		return nil, nil, nil
	}
	for _, r := range loginRows() {
		if r.name == o.row {
			return []row{r}, nil, nil
		}
		if strings.HasPrefix(r.name, o.row) && (o.row != "" || !r.extra) {
			logins = append(logins, r)
		}
	}
	for _, r := range storeRows() {
		if r.name == o.row {
			return nil, []storeRow{r}, nil
		}
		if !strings.HasPrefix(r.name, o.row) || r.million && !o.million || r.middle && o.quick {
			continue
		}
		stores = append(stores, r)
	}
	if len(logins)+len(stores) == 0 {
		return nil, nil, fmt.Errorf("no row's name begins with %q; --row list names them", o.row)
	}
	return logins, stores, nil
}

// allNames is every row's name, in the order of the tables.
func allNames() []string {
	var all []string
	for _, r := range loginRows() {
		all = append(all, r.name)
	}
	for _, r := range storeRows() {
		all = append(all, r.name)
	}
	return all
}
