// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Tidy.Tests;

/// <summary>The rules over this tree. A failure names every place at once.</summary>
public sealed class TreeTests : IAsyncLifetime
{
    private Tree _tree = null!;

    public async ValueTask InitializeAsync() => _tree = await Tree.OpenAsync(TestContext.Current.CancellationToken);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public void Code_IsShortEnoughToRead() => Check(CodeOrScript, file =>
    {
        var text = _tree.Read(file);
        return [.. Rules.FileLength(text), .. Rules.LineLength(text), .. IsCode(file) ? Rules.MethodLength(text) : []];
    });

    [Fact]
    public void Code_BeginsWithItsLicence() => Check(IsCode, file => Rules.Licence(_tree.Read(file)));

    [Fact]
    public void Code_IsFinished() => Check(CodeOrScript, file => Rules.UnfinishedWords(_tree.Read(file)));

    [Fact]
    public void Files_AreTextOfModestSize() => Check(_ => true, file =>
    {
        using var stream = File.OpenRead(Path.Combine(_tree.Root, file));
        var head = new byte[8192];
        return Rules.Blob(head.AsSpan(0, stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false)), stream.Length);
    });

    [Fact]
    public void Text_HasNoTrailingSpace() => Check(_ => true, file => Rules.TrailingSpace(_tree.Read(file)));

    [Fact]
    public void Scripts_CanBeExecuted() => Check(_ => true, file => Rules.Script(_tree.Read(file), _tree.IsExecutable(file)));

    [Fact]
    public void Documents_HaveOneTitleAndLiveLinks() => Check(file => file.EndsWith(".md", StringComparison.Ordinal), file =>
    {
        var text = _tree.Read(file);
        return [.. Rules.OneTitle(text), .. Rules.DeadLinks(text, target => _tree.LinkLeadsSomewhere(file, target))];
    });

    [Fact]
    public void Rooms_HaveAReadme() => Check(IsRoom, file => Rules.Readme(_tree.ReadIfThere($"{Path.GetDirectoryName(file)}/README.md")));

    [Fact]
    public void Rooms_SeeOnlyAlongTheArrows() => Check(IsRoom, file => Rules.References(Name(file), _tree.Read(file)));

    [Fact]
    public void Map_AndSolutionNameEveryProject()
    {
        var projects = _tree.Files.Where(IsProject).ToList();
        Check(file => file == "ARCHITECTURE.md", file => Rules.Map(_tree.Read(file), projects.Where(IsRoom).Select(Name)));
        Check(file => file == "Tidemark.slnx", file => Rules.Solution(
            _tree.Read(file), projects.Where(path => path.Split('/')[0] is "src" or "tests")));
    }

    private void Check(Func<string, bool> concerns, Func<string, IEnumerable<string>> rule)
    {
        var files = _tree.Files.Where(concerns).ToList();
        Assert.NotEmpty(files);
        var problems = files.SelectMany(file => rule(file).Select(problem => $"{file}: {problem}.")).ToList();
        Assert.True(problems.Count == 0, string.Join('\n', problems));
    }

    private bool CodeOrScript(string file) => IsCode(file) || _tree.Read(file).StartsWith("#!", StringComparison.Ordinal);

    private static bool IsCode(string file) => file.EndsWith(".cs", StringComparison.Ordinal);

    private static bool IsProject(string file) => file.EndsWith(".csproj", StringComparison.Ordinal);

    private static bool IsRoom(string file) => IsProject(file) && file.StartsWith("src/", StringComparison.Ordinal);

    private static string Name(string file) => Path.GetFileNameWithoutExtension(file);
}
