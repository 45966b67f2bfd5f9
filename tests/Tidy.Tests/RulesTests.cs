// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Tidy.Tests;

/// <summary>Every rule accepts what is right and finds what is wrong.</summary>
public sealed class RulesTests
{
    [Theory]
    [InlineData(600, 0)]
    [InlineData(601, 1)]
    public void FileOfTooManyLines_IsFound(int lines, int problems) =>
        Assert.Equal(problems, Rules.FileLength(string.Concat(Enumerable.Repeat("x\n", lines))).Count());

    [Theory]
    [InlineData(140, 0)]
    [InlineData(141, 1)]
    public void LineOfTooManyColumns_IsFound(int columns, int problems) =>
        Assert.Equal(problems, Rules.LineLength("a\n" + new string('x', columns) + "\nb\n").Count());

    [Theory]
    [InlineData("a\nb\n", 0)]
    [InlineData("", 0)]
    [InlineData("a \nb\n", 1)]
    [InlineData("a\n\tb\t\nc\r\n", 2)]
    [InlineData("a\nb", 1)]
    public void TrailingSpaceOrMissingLineEnd_IsFound(string text, int problems) =>
        Assert.Equal(problems, Rules.TrailingSpace(text).Count());

    [Theory]
    [InlineData("// SPDX-License-Identifier: Apache-2.0\nx\n", 0)]
    [InlineData("\n// SPDX-License-Identifier: Apache-2.0\n", 1)]
    [InlineData("// SPDX-License-Identifier: MIT\n", 1)]
    [InlineData("", 1)]
    public void MissingLicence_IsFound(string text, int problems) => Assert.Equal(problems, Rules.Licence(text).Count());

    [Theory]
    [InlineData("to" + "do list, hacking, xxxx\n", 0)]
    [InlineData("// TO" + "DO: later\n", 1)]
    [InlineData("a\nthrow new NotImplemented" + "Exception(); // FIX" + "ME\nXX" + "X\nHAC" + "K\n", 3)]
    public void UnfinishedWord_IsFoundOncePerLine(string text, int problems) => Assert.Equal(problems, Rules.UnfinishedWords(text).Count());

    [Theory]
    [InlineData(67, 0)]
    [InlineData(68, 1)]
    public void LongMethod_IsFoundInsideALongClass(int statements, int problems)
    {
        var body = string.Concat(Enumerable.Repeat("        Call();\n", statements));
        var text = $"public sealed class A\n{{\n    public void One(\n        int a)\n    {{\n{body}    }}\n\n"
            + $"    public void Two()\n    {{\n        if (x)\n        {{\n            Call();\n        }}\n    }}\n}}\n";
        Assert.Equal(problems, Rules.MethodLength(text).Count());
    }

    [Fact]
    public void LongMethodOfANestedType_IsFound()
    {
        var body = string.Concat(Enumerable.Repeat("            Call();\n", 100));
        var text = $"class A\n{{\n    private record struct B(\n        int C)\n    {{\n"
            + $"        void M()\n        {{\n{body}        }}\n    }}\n}}\n";
        Assert.Equal("the method at line 6 has 103 lines; at most 70 are allowed", Assert.Single(Rules.MethodLength(text)));
    }

    [Theory]
    [InlineData(15, 0)]
    [InlineData(16, 1)]
    public void LongReadme_IsFound(int lines, int problems) =>
        Assert.Equal(problems, Rules.Readme(string.Concat(Enumerable.Repeat("x\n", lines))).Count());

    [Fact]
    public void MissingReadme_IsFound() => Assert.Equal("has no README.md", Assert.Single(Rules.Readme(null)));

    [Fact]
    public void ProjectNotOnTheMap_IsFound() =>
        Assert.Equal(
            "does not mention the project 'Nbd'", Assert.Single(Rules.Map("Blocks, NbdKit and `Qemu`.", ["Blocks", "Nbd", "Qemu"])));

    [Theory]
    [InlineData("[a](there.md) [b](there.md#part) [c](https://x.org/y) [d](#here) `[e](code.md)` [f](mailto:a@b)", 0)]
    [InlineData("```\n[a](gone.md)\n```\n[a](there.md \"title\")", 0)]
    [InlineData("[a](gone.md)", 1)]
    [InlineData("![a](gone.png) text [b](sub/gone.md#x)", 2)]
    public void DeadLink_IsFound(string markdown, int problems) =>
        Assert.Equal(problems, Rules.DeadLinks(markdown, target => target == "there.md").Count());

    [Theory]
    [InlineData("# One\n## Two\n```\n# comment\n```\n", 0)]
    [InlineData("# One\n# Two\n", 1)]
    [InlineData("## None\n", 1)]
    public void DocumentWithoutExactlyOneTitle_IsFound(string markdown, int problems) =>
        Assert.Equal(problems, Rules.OneTitle(markdown).Count());

    [Theory]
    [InlineData("Nbd", "Blocks", 0)]
    [InlineData("Nbd", "Storage", 1)]
    [InlineData("Blocks", "Nbd", 1)]
    [InlineData("Engine", "Libvirt", 0)]
    [InlineData("Cli", "Engine", 0)]
    [InlineData("Cli", "Storage", 1)]
    [InlineData("Unknown", "Blocks", 1)]
    public void ReferenceAgainstTheArrows_IsFound(string project, string other, int problems) =>
        Assert.Equal(problems, Rules.References(
            project, $"<Project><ItemGroup><ProjectReference Include=\"../{other}/{other}.csproj\" /></ItemGroup></Project>").Count());

    [Fact]
    public void ProjectOutsideTheSolution_IsFound() => Assert.Equal(
        "does not list 'src/B/B.csproj'",
        Assert.Single(Rules.Solution("<Project Path=\"src/A/A.csproj\" />", ["src/A/A.csproj", "src/B/B.csproj"])));

    [Theory]
    [InlineData("text", 4, 0)]
    [InlineData("te\0xt", 5, 1)]
    [InlineData("text", (256 << 10) + 1, 1)]
    public void BinaryOrLargeFile_IsFound(string head, long length, int problems) =>
        Assert.Equal(problems, Rules.Blob(System.Text.Encoding.UTF8.GetBytes(head), length).Count());

    [Theory]
    [InlineData("#!/bin/sh\n", true, 0)]
    [InlineData("#!/bin/sh\n", false, 1)]
    [InlineData("text\n", false, 0)]
    public void ScriptWithoutItsBit_IsFound(string text, bool executable, int problems) =>
        Assert.Equal(problems, Rules.Script(text, executable).Count());
}
