// Adds up sales.csv for the regions that standard input names, and writes totals.json.
package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"strconv"
	"strings"
)

func main() {
	input, err := io.ReadAll(os.Stdin)
	check(err)
	wanted := strings.Fields(string(input))
	totals := make(map[string]float64)
	for _, region := range wanted {
		totals[region] = 0
	}

	file, err := os.Open("sales.csv")
	check(err)
	rows, err := csv.NewReader(file).ReadAll()
	check(err)
	for _, row := range rows[1:] {
		if _, ok := totals[row[0]]; !ok {
			continue
		}
		units, err := strconv.Atoi(row[2])
		check(err)
		price, err := strconv.ParseFloat(row[3], 64)
		check(err)
		totals[row[0]] += float64(units) * price
	}

	for _, region := range wanted {
		totals[region] = math.Round(totals[region]*100) / 100
		fmt.Printf("%-8s%10.2f\n", region, totals[region])
	}
	result, err := json.Marshal(totals)
	check(err)
	check(os.WriteFile("totals.json", result, 0o644))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
