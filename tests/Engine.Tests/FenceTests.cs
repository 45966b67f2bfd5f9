// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Repositories;

namespace Tidemark.Engine.Tests;

/// <summary>Who cleans up after a dead run asks its repository, and no other one that happens to be at the path.</summary>
public sealed class FenceTests(LabFixture fixture)
{
    private static readonly string Machine = Guid.NewGuid().ToString("d");

    [Fact]
    public async Task FolderThatIsNotMounted_SaysNothing_AndStaysEmpty()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var folder = Directory.CreateDirectory(lab.PathOf("unmounted")).FullName;
        Assert.Equal(RunFate.Unknown, await FenceAsync(folder, lab.Repository.Part));
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder));
    }

    [Fact]
    public async Task AnotherRepositoryAtThePath_IsLeftAlone()
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var before = Files(lab.RepositoryFolder);
        Assert.Equal(RunFate.OfAnother, await FenceAsync(lab.RepositoryFolder, "01234567"));
        Assert.Equal(before, Files(lab.RepositoryFolder));
        Assert.Equal(RunFate.Revoked, await FenceAsync(lab.RepositoryFolder, lab.Repository.Part));
    }

    private static string[] Files(string folder) =>
        [.. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];

    private static Task<RunFate> FenceAsync(string folder, string part) =>
        RepositorySession.FenceAsync(folder, part, Machine, Guid.NewGuid(), EngineLab.Token);
}
