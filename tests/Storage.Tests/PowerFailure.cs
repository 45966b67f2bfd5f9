// SPDX-License-Identifier: Apache-2.0
using Microsoft.Win32.SafeHandles;

namespace Tidemark.Storage.Tests;

/// <summary>
/// The calls of a folder store under a power failure: after the N-th call every further one fails, and <see cref="Restart"/> makes the
/// folder as it is found then. A file's bytes are there if they were flushed, a name (or its absence) if its folder was synced since;
/// of what was not, nothing is there, or some by chance. Safe from any thread.
/// </summary>
internal sealed class PowerFailure : FolderFiles
{
    private readonly Lock _gate = new();
    private readonly string _root;
    private readonly string _kept;
    private int _failAfter;
    private readonly Random? _luck;
    private readonly Node _tree;
    private int _files;

    /// <param name="root">The store's folder; what it holds now is durable.</param>
    /// <param name="kept">An empty folder of the same file system, for the bytes of files that are deleted later.</param>
    /// <param name="failAfter">Calls that still happen.</param>
    /// <param name="luck">Decides what of the rest is there all the same; without it, nothing.</param>
    public PowerFailure(string root, string kept, int failAfter, Random? luck)
    {
        (_root, _kept, _failAfter, _luck) = (root, kept, failAfter, luck);
        _tree = Scan(root);
    }

    /// <summary>A medium, or a store, that forgets to make names durable; for tests of the tests.</summary>
    public bool ForgetsNames { get; init; }

    /// <summary>One that forgets to make bytes durable.</summary>
    public bool ForgetsBytes { get; init; }

    /// <summary>Calls so far, those that failed included.</summary>
    public int Calls { get; private set; }

    public bool HasFailed => Calls > _failAfter;

    /// <summary>It was only the process that died: from now on calls happen again, and what it had not synced is not synced.</summary>
    public void Revive() => _failAfter = int.MaxValue;

    public override SafeFileHandle Create(string path)
    {
        lock (_gate)
        {
            Count();
            var file = base.Create(path);
            Folder(path).Current[Path.GetFileName(path)] = new Node();
            return file;
        }
    }

    public override void Flush(SafeFileHandle file, string path)
    {
        lock (_gate)
        {
            Count();
            if (!ForgetsBytes)
                Keep(Folder(path).Current[Path.GetFileName(path)], path);
        }
    }

    public override bool Link(string existing, string name)
    {
        lock (_gate)
        {
            Count();
            var isNew = base.Link(existing, name);
            if (isNew)
                Folder(name).Current[Path.GetFileName(name)] = Folder(existing).Current[Path.GetFileName(existing)];
            return isNew;
        }
    }

    public override void CreateFolder(string path)
    {
        lock (_gate)
        {
            Count();
            base.CreateFolder(path);
            Folder(path).Current.TryAdd(Path.GetFileName(path), Node.NewFolder());
        }
    }

    public override bool Delete(string path)
    {
        lock (_gate)
        {
            Count();
            return base.Delete(path) && Folder(path).Current.Remove(Path.GetFileName(path));
        }
    }

    public override void SyncFolder(string path)
    {
        lock (_gate)
        {
            Count();
            if (ForgetsNames)
                return;
            var folder = Folder(Path.Combine(path, "any"));
            folder.Durable = new Dictionary<string, Node>(folder.Current, StringComparer.Ordinal);
        }
    }

    /// <summary>Makes the folder as it is found when the power is back.</summary>
    public void Restart(string target)
    {
        lock (_gate)
            Restore(_tree, target);
    }

    private void Restore(Node folder, string target)
    {
        Directory.CreateDirectory(target);
        foreach (var name in folder.Durable!.Keys.Union(folder.Current.Keys, StringComparer.Ordinal).Order(StringComparer.Ordinal))
        {
            var isSynced = folder.Durable.TryGetValue(name, out var durable);
            folder.Current.TryGetValue(name, out var current);
            var found = _luck is not null && !ReferenceEquals(durable, current) && _luck.Next(2) == 0 ? current : isSynced ? durable : null;
            if (found is null)
                continue;
            var path = Path.Combine(target, name);
            if (found.IsFolder)
                Restore(found, path);
            else if (found.Kept is { } kept)
                Assert.True(Posix.Link(kept, path));
            else
                File.WriteAllBytes(path, new byte[_luck?.Next(3) ?? 0]);
        }
    }

    // Caller holds _gate.
    private void Count()
    {
        if (++Calls > _failAfter)
            throw new IOException("The power failed.");
    }

    // Caller holds _gate. Nothing is written to a file after it was flushed.
    private void Keep(Node file, string path)
    {
        file.Kept = Path.Combine(_kept, $"{_files++}");
        Assert.True(Posix.Link(path, file.Kept));
    }

    private Node Scan(string path)
    {
        var folder = Node.NewFolder();
        foreach (var inner in Directory.GetDirectories(path))
            folder.Current.Add(Path.GetFileName(inner), Scan(inner));
        foreach (var inner in Directory.GetFiles(path))
        {
            var file = new Node();
            Keep(file, inner);
            folder.Current.Add(Path.GetFileName(inner), file);
        }

        folder.Durable = new Dictionary<string, Node>(folder.Current, StringComparer.Ordinal);
        return folder;
    }

    // The folder that a path lies in.
    private Node Folder(string path)
    {
        var folder = _tree;
        foreach (var part in Path.GetRelativePath(_root, path).Split('/')[..^1])
            folder = folder.Current[part];
        return folder;
    }

    /// <summary>A file or a folder; a name that is removed and made again is another one.</summary>
    private sealed class Node
    {
        public bool IsFolder => Durable is not null;

        /// <summary>Where its flushed bytes are kept; null while they are not flushed.</summary>
        public string? Kept { get; set; }

        public Dictionary<string, Node> Current { get; } = new(StringComparer.Ordinal);

        public Dictionary<string, Node>? Durable { get; set; }

        public static Node NewFolder() => new() { Durable = new Dictionary<string, Node>(StringComparer.Ordinal) };
    }
}
