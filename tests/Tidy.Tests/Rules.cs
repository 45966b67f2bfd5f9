// SPDX-License-Identifier: Apache-2.0
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Tidemark.Tidy.Tests;

/// <summary>The rules of the tree, each a pure function from text to what is wrong with it. Lines are counted from 1.</summary>
internal static partial class Rules
{
    public const int MaxFileLines = 600, MaxLineColumns = 140, MaxMethodLines = 70, MaxReadmeLines = 15, MaxBlobBytes = 256 << 10;

    private const string LicenceLine = "// SPDX-License-Identifier: Apache-2.0";

    // The rooms and whom they may see; ARCHITECTURE.md draws the same.
    private static readonly Dictionary<string, string[]> Arrows = new(StringComparer.Ordinal)
    {
        ["Blocks"] = [],
        ["Nbd"] = ["Blocks"],
        ["Storage"] = ["Blocks"],
        ["Qemu"] = ["Blocks"],
        ["Libvirt"] = ["Blocks"],
        ["Engine"] = ["Blocks", "Nbd", "Storage", "Qemu", "Libvirt"],
        ["Cli"] = ["Blocks", "Engine"],
        ["Daemon"] = ["Blocks", "Engine"],
    };

    public static IEnumerable<string> FileLength(string text)
    {
        var count = Lines(text).Length;
        return count > MaxFileLines ? [$"has {count} lines; at most {MaxFileLines} are allowed"] : [];
    }

    public static IEnumerable<string> LineLength(string text) =>
        from line in Lines(text).Index()
        where line.Item.Length > MaxLineColumns
        select $"line {line.Index + 1} has {line.Item.Length} columns; at most {MaxLineColumns} are allowed";

    public static IEnumerable<string> TrailingSpace(string text)
    {
        foreach (var (index, line) in Lines(text).Index())
        {
            if (line.Length > 0 && char.IsWhiteSpace(line[^1]))
                yield return $"line {index + 1} ends with white space";
        }

        if (text.Length > 0 && text[^1] != '\n')
            yield return "does not end with a line end";
    }

    public static IEnumerable<string> Licence(string text) =>
        Lines(text) is [LicenceLine, ..] ? [] : [$"does not begin with the line '{LicenceLine}'"];

    public static IEnumerable<string> UnfinishedWords(string text) =>
        from line in Lines(text).Index()
        let match = Unfinished().Match(line.Item)
        where match.Success
        select $"line {line.Index + 1} says '{match.Value}'";

    /// <summary>Judges layout only: a block whose brace stands alone on its line, as every method here has it.</summary>
    public static IEnumerable<string> MethodLength(string text)
    {
        var lines = Lines(text);
        for (var open = 1; open < lines.Length; open++)
        {
            if (lines[open].Trim() != "{" || TypeHeader().IsMatch(Header(lines, open)))
                continue;
            var closing = lines[open][..^1] + "}";
            var close = Array.FindIndex(lines, open, line => line.StartsWith(closing, StringComparison.Ordinal));
            if (close < 0)
                yield break;
            if (close - open + 2 > MaxMethodLines)
                yield return $"the method at line {open} has {close - open + 2} lines; at most {MaxMethodLines} are allowed";
            open = close;
        }
    }

    public static IEnumerable<string> Readme(string? text)
    {
        if (text is null)
            return ["has no README.md"];
        var count = Lines(text).Length;
        return count > MaxReadmeLines ? [$"has a README.md of {count} lines; at most {MaxReadmeLines} are allowed"] : [];
    }

    public static IEnumerable<string> Map(string architecture, IEnumerable<string> projects) =>
        from project in projects
        where !Regex.IsMatch(architecture, $@"\b{Regex.Escape(project)}\b", RegexOptions.None, TimeSpan.FromSeconds(1))
        select $"does not mention the project '{project}'";

    /// <summary>Relative links that lead nowhere; <paramref name="exists"/> is asked with paths relative to the file.</summary>
    public static IEnumerable<string> DeadLinks(string markdown, Func<string, bool> exists) =>
        from match in Link().Matches(WithoutCode(markdown))
        let target = Uri.UnescapeDataString(match.Groups["target"].Value.Split('#')[0])
        where target.Length > 0 && !ForeignLink().IsMatch(target) && !exists(target)
        select $"links to '{target}', which does not exist";

    public static IEnumerable<string> OneTitle(string markdown)
    {
        var count = Lines(WithoutCode(markdown)).Count(line => line.StartsWith("# ", StringComparison.Ordinal));
        return count == 1 ? [] : [$"has {count} titles ('# …'); exactly 1 is needed"];
    }

    public static IEnumerable<string> References(string project, string projectFile)
    {
        if (!Arrows.TryGetValue(project, out var allowed))
            return [$"the project '{project}' has no arrows in Rules.cs"];
        var others = allowed.Length == 0 ? "no other project" : string.Join(", ", allowed);
        return from reference in XElement.Parse(projectFile).Descendants("ProjectReference")
               let other = Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value)
               where !allowed.Contains(other, StringComparer.Ordinal)
               select $"references '{other}'; '{project}' may see {others}";
    }

    public static IEnumerable<string> Solution(string solution, IEnumerable<string> projectPaths) =>
        from path in projectPaths
        where !solution.Contains($"\"{path}\"", StringComparison.Ordinal)
        select $"does not list '{path}'";

    public static IEnumerable<string> Blob(ReadOnlySpan<byte> head, long length)
    {
        if (length > MaxBlobBytes)
            return [$"has {length} bytes; at most {MaxBlobBytes} are allowed"];
        return head.Contains((byte)0) ? ["is not text"] : [];
    }

    public static IEnumerable<string> Script(string text, bool executable) =>
        text.StartsWith("#!", StringComparison.Ordinal) && !executable ? ["is a script that can't be executed"] : [];

    private static string[] Lines(string text)
    {
        var lines = text.Split('\n');
        return lines[^1].Length == 0 ? lines[..^1] : lines;
    }

    // What stands before a brace: the lines up to the last one that ended something.
    private static string Header(string[] lines, int open)
    {
        var start = open;
        while (start > 0 && lines[start - 1].Trim() is [not '/', .., not (';' or '{' or '}' or ']')])
            start--;
        return string.Join(' ', lines[start..open]);
    }

    private static string WithoutCode(string markdown) => InlineCode().Replace(Fence().Replace(markdown, ""), "");

    [GeneratedRegex(@"\b(TO[D]O|FIX[M]E|XX[X]|HAC[K]|NotImplemented[E]xception)\b", RegexOptions.None, 1000)]
    private static partial Regex Unfinished();

    [GeneratedRegex(@"\b(class|struct|record|interface|enum|namespace)\s+\w", RegexOptions.None, 1000)]
    private static partial Regex TypeHeader();

    [GeneratedRegex(@"\]\((?<target>[^)\s]+)(\s+""[^""]*"")?\)", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Link();

    [GeneratedRegex("^[a-z]+:", RegexOptions.None, 1000)]
    private static partial Regex ForeignLink();

    [GeneratedRegex(@"^(```|~~~).*?^\1[`~]*\s*$", RegexOptions.Multiline | RegexOptions.Singleline, 1000)]
    private static partial Regex Fence();

    [GeneratedRegex(@"`[^`\n]*`", RegexOptions.None, 1000)]
    private static partial Regex InlineCode();
}
