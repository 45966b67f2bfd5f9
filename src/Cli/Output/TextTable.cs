// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Tidemark.Cli.Output;

/// <summary>Columns of text, as wide as they need to be; the last one is never padded. Headings that start with '>' align right.</summary>
internal sealed class TextTable(params string[] headings)
{
    private readonly List<string[]> _rows = [];

    public void Add(params string[] cells) => _rows.Add(cells);

    public override string ToString()
    {
        var names = headings.Select(heading => heading.TrimStart('>')).ToArray();
        var widths = names.Select((name, at) => Math.Max(name.Length, _rows.Select(row => row[at].Length).DefaultIfEmpty(0).Max()));
        var width = widths.ToArray();
        var text = new StringBuilder();
        foreach (var row in _rows.Prepend(names))
        {
            for (var at = 0; at < row.Length; at++)
            {
                var last = at == row.Length - 1;
                var right = headings[at].StartsWith('>');
                text.Append(right ? row[at].PadLeft(width[at]) : last ? row[at] : row[at].PadRight(width[at]));
                text.Append(last ? "\n" : "  ");
            }
        }

        return text.ToString().TrimEnd('\n');
    }
}
