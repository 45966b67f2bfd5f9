// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Tidy.Tests;

/// <summary>The files of this working tree that belong to the project: what git tracks or would track.</summary>
internal sealed class Tree
{
    private readonly HashSet<string> _folders = new(StringComparer.Ordinal);
    private readonly HashSet<string> _files;

    private Tree(string root, IEnumerable<string> files)
    {
        Root = root;
        _files = [.. files.Where(file => File.Exists(Path.Combine(root, file)))];
        Files = [.. _files.Order(StringComparer.Ordinal)];
        foreach (var file in _files)
        {
            for (var folder = Path.GetDirectoryName(file); folder is { Length: > 0 }; folder = Path.GetDirectoryName(folder))
                _folders.Add(folder);
        }
    }

    public string Root { get; }

    public IReadOnlyList<string> Files { get; }

    /// <summary>Finds the root above the test's own folder and asks git for the files.</summary>
    public static async Task<Tree> OpenAsync(CancellationToken cancellationToken)
    {
        var root = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(root, "Tidemark.slnx")))
            root = Path.GetDirectoryName(root) ?? throw new InvalidOperationException("The test does not lie in a working tree.");

        // In CI the tree often belongs to another user, which git would refuse.
        var start = new ProcessStartInfo(
            "git", ["-c", $"safe.directory={root}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        {
            UseShellExecute = false,
            WorkingDirectory = root,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var git = Process.Start(start)!;
        var output = await git.StandardOutput.ReadToEndAsync(cancellationToken);
        await git.WaitForExitAsync(cancellationToken);
        return new Tree(root, git.ExitCode == 0 ? output.Split('\0', StringSplitOptions.RemoveEmptyEntries) : Walk(root, ""));
    }

    // A tree without its repository, such as an unpacked archive: everything but what a build makes.
    private static IEnumerable<string> Walk(string root, string folder)
    {
        foreach (var path in Directory.EnumerateFileSystemEntries(Path.Combine(root, folder)))
        {
            var name = Path.Combine(folder, Path.GetFileName(path));
            if (!Directory.Exists(path))
                yield return name;
            else if (Path.GetFileName(path) is not ("bin" or "obj" or "artifacts" or ".git"))
                foreach (var below in Walk(root, name))
                    yield return below;
        }
    }

    public string Read(string file) => File.ReadAllText(Path.Combine(Root, file));

    public string? ReadIfThere(string file) => _files.Contains(file) ? Read(file) : null;

    /// <summary>Whether a link in <paramref name="file"/> leads to a file or folder of the project.</summary>
    public bool LinkLeadsSomewhere(string file, string target)
    {
        var path = target.StartsWith('/')
            ? target[1..]
            : Path.GetRelativePath(Root, Path.GetFullPath(Path.Combine(Root, Path.GetDirectoryName(file)!, target)));
        path = path.TrimEnd('/');
        return path is "" or "." || _files.Contains(path) || _folders.Contains(path);
    }

    public bool IsExecutable(string file) =>
        !OperatingSystem.IsWindows() && (File.GetUnixFileMode(Path.Combine(Root, file)) & UnixFileMode.UserExecute) != UnixFileMode.None;
}
